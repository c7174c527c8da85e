//! Tries the default pack on the corpus, and prints the page of figures: `cargo xtask eval rules`.

use std::process::ExitCode;

use agentsight_policy::corpus::{self, Corpus};

const ATTACKS: &str = include_str!("../corpus/attacks.yaml");
const BENIGN: &str = include_str!("../corpus/benign.yaml");

fn main() -> ExitCode {
    match Corpus::load(ATTACKS, BENIGN).and_then(|corpus| corpus::evaluate(&corpus)) {
        Ok(evaluation) => {
            print!("{}", evaluation.page());
            for line in evaluation.misjudged() {
                eprintln!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
