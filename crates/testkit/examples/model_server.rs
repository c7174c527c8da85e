//! Serves the demo's script until its standard input ends. Prints the URL and the authority's PEM file, a
//! line each, for clients in other processes, such as the TLS benchmark of `cargo xtask bench`.

use std::io::{self, Write};

use agentsight_testkit::{Demo, ModelServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = ModelServer::start(Demo::script())?;
    println!("{}\n{}", server.url(), server.ca_pem_path().display());
    io::stdout().flush()?;
    // Ends with whoever started it: nothing is left behind if that one is killed.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
