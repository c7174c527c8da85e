//! The arguments of a program that may carry the text of a tool call.

use super::text::Skeleton;
use super::words::CallWords;
use crate::graph::ExecRecord;
use crate::tool::takes_text;

/// A text this long with white space in it is a command wherever it stands; a shorter one only after
/// `-c`, or as the whole argument vector.
const MIN_FREE_TEXT: usize = 8;

/// Arguments of one program that are compared with commands. Wrappers put the command among the first.
pub(super) const MAX_ARGUMENTS: usize = 64;

/// The arguments of a program that may carry a command.
pub(super) struct Carried<'a> {
    exec: &'a ExecRecord,
    whole: Skeleton,
    /// Skeletons of arguments, with whether each stands somewhere after `-c` (`bash -c -l TEXT`).
    texts: Vec<(Skeleton, bool)>,
}

impl<'a> Carried<'a> {
    pub(super) fn of(exec: &'a ExecRecord) -> Self {
        let mut after_c = false;
        let mut texts = Vec::new();
        for argument in exec.argv.iter().skip(1).take(MAX_ARGUMENTS) {
            if takes_text(argument) {
                after_c = true;
            } else {
                texts.push((Skeleton::of(argument), after_c));
            }
        }
        Self {
            exec,
            whole: Skeleton::of(&exec.argv.join(" ")),
            texts,
        }
    }

    /// Whether a command of the call is carried: exactly or not, and how long it is.
    pub(super) fn text_of(&self, words: &CallWords) -> Option<(bool, usize)> {
        if words.shape.argvs.contains(&self.exec.argv) {
            return Some((true, self.whole.len()));
        }
        let found = words.commands.iter().filter_map(|command| {
            let exact = self.whole.equals(command)
                || self.texts.iter().any(|(text, after_c)| {
                    (*after_c || is_free_text(command)) && text.equals(command)
                });
            let contained = exact
                || self.texts.iter().any(|(text, after_c)| {
                    (*after_c || is_free_text(command))
                        && (text.contains(command)
                            || self.exec.argv_cut && text.breaks_off_in(command))
                });
            contained.then_some((exact, command.len()))
        });
        found.max()
    }
}

fn is_free_text(command: &Skeleton) -> bool {
    command.len() >= MIN_FREE_TEXT
}
