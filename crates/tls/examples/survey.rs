//! Looks at every file named on standard input: where the quick check and the full look disagree, how long
//! each takes, and what is found.

use std::fs::File;
use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use agentsight_tls::{LocateError, Options, locate, maybe_tls};

#[derive(Default)]
struct Totals {
    files: u64,
    quick: Duration,
    slowest_quick: Duration,
    maybe: u64,
    with_tls: u64,
    missed: u64,
}

fn main() {
    let mut totals = Totals::default();
    for path in stdin().lock().lines().map_while(Result::ok) {
        if let Err(error) = survey(&path, &mut totals)
            && !matches!(error, LocateError::NotElf)
        {
            println!("{path}: {error}");
        }
    }
    println!(
        "{} files, quick check {:.1?} in all, {:.1?} at most, {} may hold TLS, {} do, {} missed",
        totals.files,
        totals.quick,
        totals.slowest_quick,
        totals.maybe,
        totals.with_tls,
        totals.missed
    );
}

fn survey(path: &str, totals: &mut Totals) -> Result<(), LocateError> {
    let file = File::open(path)?;
    let start = Instant::now();
    let maybe = maybe_tls(&file)?;
    let quick = start.elapsed();
    let located = locate(&file, &Options::default())?;
    totals.files += 1;
    totals.quick += quick;
    totals.slowest_quick = totals.slowest_quick.max(quick);
    totals.maybe += u64::from(maybe);
    totals.with_tls += u64::from(!located.stacks.is_empty());
    if !located.stacks.is_empty() || maybe {
        let stacks: Vec<String> = located
            .stacks
            .iter()
            .map(|report| format!("{} ({} hooks)", report.stack, report.hooks.len()))
            .collect();
        let missed = if maybe {
            ""
        } else {
            " MISSED by the quick check"
        };
        totals.missed += u64::from(!maybe);
        println!("{path}: {quick:.0?} {}{missed}", stacks.join(", "));
    }
    Ok(())
}
