//! Prints what the locator finds in each file named, with the time it took.
//! `--no-symbols` searches functions that have a name like all others.

use std::fs::File;
use std::time::Instant;

use agentsight_tls::{LocateError, Options, locate};

fn main() {
    let mut options = Options::default();
    for path in std::env::args_os().skip(1) {
        if path == "--no-symbols" {
            options = Options::code_only();
            continue;
        }
        let start = Instant::now();
        let outcome = File::open(&path)
            .map_err(LocateError::from)
            .and_then(|file| locate(&file, &options));
        let elapsed = start.elapsed();
        println!("{} ({elapsed:.1?})", path.display());
        match outcome {
            Ok(located) => {
                println!(
                    "{}",
                    serde_json::to_string_pretty(&located).unwrap_or_default()
                );
            }
            Err(error) => println!("{error}"),
        }
    }
}
