//! Prints what the locator finds in each file named, with the time it took.
//! `--no-symbols` searches functions that have a name like all others; `--json` prints JSON.

use std::fs::File;
use std::time::Instant;

use agentsight_tls::{LocateError, Options, describe, locate};

fn main() {
    let mut options = Options::default();
    let mut json = false;
    for path in std::env::args_os().skip(1) {
        match path.to_str() {
            Some("--no-symbols") => options = Options::code_only(),
            Some("--json") => json = true,
            _ => {
                let start = Instant::now();
                let outcome = File::open(&path)
                    .map_err(LocateError::from)
                    .and_then(|file| locate(&file, &options));
                println!("{} ({:.1?})", path.display(), start.elapsed());
                match outcome {
                    Ok(located) if json => {
                        println!(
                            "{}",
                            serde_json::to_string_pretty(&located).unwrap_or_default()
                        );
                    }
                    Ok(located) => println!("{}", describe(&located)),
                    Err(error) => println!("{error}"),
                }
            }
        }
    }
}
