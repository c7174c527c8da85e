//! Prints what the locator finds in each file named, with the time it took.

use std::fs::File;
use std::time::Instant;

fn main() {
    for path in std::env::args_os().skip(1) {
        let start = Instant::now();
        let outcome = File::open(&path)
            .map_err(agentsight_tls::LocateError::from)
            .and_then(|file| agentsight_tls::locate(&file, &agentsight_tls::Options::default()));
        let elapsed = start.elapsed();
        println!("{} ({elapsed:.1?})", path.display());
        match outcome {
            Ok(located) => println!(
                "{}",
                serde_json::to_string_pretty(&located).unwrap_or_default()
            ),
            Err(error) => println!("{error}"),
        }
    }
}
