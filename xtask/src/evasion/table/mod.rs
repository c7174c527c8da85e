//! The attacks, by the rows of the list of evasions that sensors of this kind are known for.
//!
//! One line in [`ATTACKS`] is one program in `tests/evasion`. Its signs are what a session must say for the
//! attack to count as caught; each of them fails for the attacker that does nothing.

mod files;
mod processes;
mod system;

/// How an attacker is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// In a session that others may share.
    Shared,
    /// In a session of its own.
    Alone,
    /// Before the session, which is attached to it.
    Attached,
}

impl Start {
    /// As `tests/evasion/run.sh` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Alone => "alone",
            Self::Attached => "attached",
        }
    }
}

/// What an attribute of an action must be.
#[derive(Clone, Copy)]
pub(super) enum Is {
    Text(&'static str),
    /// Ends like this. Of a path, so that it does not matter where the attacker's folder is.
    Ends(&'static str),
    /// Has this in it, or is a list of which one element is this.
    Has(&'static str),
    Number(u64),
    AtLeast(u64),
    Yes,
    There,
}

type Attributes = &'static [(&'static str, Is)];

/// Something that a session says.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    /// An action of this kind, with these attributes.
    Action(&'static str, Attributes),
    /// So many of them.
    Actions(usize, &'static str, Attributes),
    /// A finding of this rule.
    Finding(&'static str),
    /// Plaintext of TLS, so many bytes.
    Plaintext(u64),
    /// Two processes that had one pid.
    PidTwice,
    /// The record stops without an end.
    Interrupted,
    /// The record has been changed since it was written.
    Tampered,
    /// Nothing of these kinds is missing uncounted, and nothing of the class `security` at all.
    Conserved,
}

/// One attacker, and what must be seen of it.
#[derive(Clone, Copy)]
pub(super) struct Attack {
    /// The row of the list.
    pub(super) row: u8,
    /// The program, as in `tests/evasion`.
    pub(super) program: &'static str,
    pub(super) technique: &'static str,
    /// The hooks by which it is seen.
    pub(super) hooks: &'static str,
    pub(super) start: Start,
    /// All of these: caught.
    pub(super) caught: &'static [Sign],
    /// Or else all of these: something was told, though not what was done.
    pub(super) alarmed: &'static [Sign],
    /// Whether it is seen only if the attacker is unlucky: then it is never more than alarmed.
    pub(super) is_luck: bool,
    /// What is not seen of it, even where it is caught.
    pub(super) unseen: &'static str,
}

impl Attack {
    const fn new(row: u8, program: &'static str, technique: &'static str) -> Self {
        Self {
            row,
            program,
            technique,
            hooks: SYS_EXIT,
            start: Start::Shared,
            caught: &[],
            alarmed: &[],
            is_luck: false,
            unseen: "",
        }
    }

    const fn by(self, hooks: &'static str) -> Self {
        Self { hooks, ..self }
    }

    const fn caught(self, caught: &'static [Sign]) -> Self {
        Self { caught, ..self }
    }

    const fn alarmed(self, alarmed: &'static [Sign]) -> Self {
        Self { alarmed, ..self }
    }

    const fn by_luck(self) -> Self {
        Self {
            is_luck: true,
            ..self
        }
    }

    const fn started(self, start: Start) -> Self {
        Self { start, ..self }
    }

    const fn unseen(self, unseen: &'static str) -> Self {
        Self { unseen, ..self }
    }
}

/// The attacker that does nothing.
pub(super) const CONTROL: &str = "00_control";

/// The rows that have no attacker, and why.
pub(super) const WITHOUT: &[(u8, &str, &str)] = &[(
    18,
    "the kernel drops probes silently",
    "no attacker makes the kernel do it. The monitor makes a known call now and then and tells if its record does \
     not come; probes of functions that are dead show as dark TLS, and are attached again (row 16)",
)];

const SYS_EXIT: &str = "sys_exit";

const fn path(path: &'static str) -> (&'static str, Is) {
    ("file.path", Is::Ends(path))
}

const fn operation(name: &'static str) -> (&'static str, Is) {
    ("agentsight.operation", Is::Text(name))
}

const fn made(file: &'static [(&'static str, Is)]) -> Sign {
    Sign::Action("file.create", file)
}

const fn opened(file: &'static [(&'static str, Is)]) -> Sign {
    Sign::Action("file.open", file)
}

/// All attacks, by row.
pub(super) fn attacks() -> impl Iterator<Item = &'static Attack> {
    [files::ATTACKS, processes::ATTACKS, system::ATTACKS]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::evasion::sources;

    #[test]
    fn every_row_and_every_attacker_is_in_the_table() {
        let rows: BTreeSet<u8> = attacks()
            .map(|attack| attack.row)
            .chain(WITHOUT.iter().map(|row| row.0))
            .collect();
        assert_eq!(rows, (1..=45).collect());

        let programs: BTreeSet<String> = attacks()
            .map(|attack| attack.program.to_owned())
            .chain([CONTROL.to_owned()])
            .collect();
        let files: BTreeSet<String> = fs::read_dir(sources())
            .unwrap()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                Some(name.strip_suffix(".c")?.to_owned())
            })
            .collect();
        assert_eq!(programs, files);
    }

    #[test]
    fn an_attack_is_one_of_its_row_and_has_signs() {
        for attack in attacks() {
            let number = format!("{:02}_", attack.row);
            assert!(attack.program.starts_with(&number), "{}", attack.program);
            assert!(!attack.caught.is_empty(), "{}", attack.program);
        }
    }
}
