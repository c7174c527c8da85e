//! What the terminal is like, and output that a closed pipe ends quietly.

use std::io::{self, IsTerminal, Write};

use crate::report::sanitize;

/// Width used where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;

/// Whether to colour what goes to standard error.
pub(crate) fn stderr_colour() -> bool {
    colour_wanted() && io::stderr().is_terminal()
}

/// Whether to colour what goes to standard output.
pub(crate) fn stdout_colour() -> bool {
    colour_wanted() && io::stdout().is_terminal()
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether a program uses the whole terminal: it reads keys as they come, and draws where it likes.
pub(crate) fn is_taken() -> bool {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    let stderr = io::stderr();
    stderr.is_terminal()
        && tcgetattr(stderr).is_ok_and(|modes| !modes.local_flags.contains(LocalFlags::ICANON))
}

/// Columns of the terminal, from `COLUMNS` or from the terminal itself.
pub(crate) fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .or_else(agentsight_probe::terminal_columns)
        .unwrap_or(DEFAULT_WIDTH)
        .clamp(40, 400)
}

/// Writes to standard error, as it is. If that is gone, nobody is left to tell.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Tells in one line that something is not as it should be. What it quotes may be hostile.
pub(crate) fn warn(text: &str) {
    tell(&format!("agentsight: {}\n", sanitize(text)));
}

/// Writes to standard output. A reader that has gone away (`| head`) is not an error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}
