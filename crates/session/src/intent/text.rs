//! Comparison of a command's text with what a process was started with.
//!
//! Agents seldom pass a command on as it is. They quote it (`eval 'a '"'"'b'"'"''`), write it as a JSON
//! string, and put text of their own around it. All ways of quoting only add quotes and backslashes and
//! move white space; so both sides are compared by their *skeleton*, which has none of these. Where one
//! skeleton contains the other, the match must begin and end where a word does in the original, so that
//! the command `ls` is not found in `false`.

use memchr::memmem;

/// Bytes of a text that are compared. Linux passes no argument above 128 KiB.
const MAX_BYTES: usize = 128 << 10;

/// Of a command whose process was recorded with a cut argument vector, this much must be there.
const MIN_CUT_MATCH: usize = 32;

/// A text without quotes, backslashes and white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skeleton {
    bytes: Vec<u8>,
    /// For each byte, whether a word may begin there in the original.
    starts: Vec<bool>,
}

impl Skeleton {
    /// The skeleton of `text`, or of its first 128 KiB.
    pub(crate) fn of(text: &str) -> Self {
        let mut skeleton = Self::default();
        let mut in_word = false;
        for character in text
            .get(..text.floor_char_boundary(MAX_BYTES))
            .unwrap_or_default()
            .chars()
        {
            if character.is_whitespace() || matches!(character, '\'' | '"' | '\\') {
                in_word = false;
                continue;
            }
            let word = character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/');
            let mut buffer = [0; 4];
            for (position, byte) in character.encode_utf8(&mut buffer).bytes().enumerate() {
                skeleton.bytes.push(byte);
                skeleton.starts.push(position == 0 && !(in_word && word));
            }
            in_word = word;
        }
        skeleton
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether both texts are the same apart from quoting and white space.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// Whether `other` is a part of this text, made of whole words.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        if other.is_empty() || other.len() > self.len() {
            return false;
        }
        memmem::find_iter(&self.bytes, &other.bytes).any(|at| {
            let end = at.saturating_add(other.len());
            self.is_start(at) && self.is_start(end)
        })
    }

    /// Whether this text, whose end is missing, breaks off within `other`.
    pub(crate) fn breaks_off_in(&self, other: &Self) -> bool {
        let Some(head) = other.bytes.get(..MIN_CUT_MATCH) else {
            return false;
        };
        memmem::find_iter(&self.bytes, head).any(|at| {
            let rest = self.bytes.get(at..).unwrap_or_default();
            self.is_start(at) && other.bytes.starts_with(rest)
        })
    }

    fn is_start(&self, position: usize) -> bool {
        self.starts.get(position).is_none_or(|start| *start)
    }
}

/// The skeletons under which a command may appear: as it is, and written as a JSON string, where a line
/// break becomes `\n` and so leaves an `n` behind.
pub(crate) fn variants(command: &str) -> Vec<Skeleton> {
    let plain = Skeleton::of(command);
    let mut variants = Vec::with_capacity(1);
    if command.trim().contains(['\n', '\t']) && command.len() <= MAX_BYTES {
        let json = serde_json::Value::from(command.trim()).to_string();
        variants.push(Skeleton::of(&json));
    }
    variants.push(plain);
    variants.retain(|skeleton| !skeleton.is_empty());
    variants
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, command: &str) -> bool {
        let text = Skeleton::of(text);
        variants(command)
            .iter()
            .any(|command| text.contains(command))
    }

    #[test]
    fn wrappers_of_real_agents() {
        let table = [
            // Claude Code
            (
                "source /h/snap.sh 2>/dev/null || true && eval 'ls -la' < /dev/null && pwd -P >| /tmp/c-1-cwd",
                "ls -la",
            ),
            ("eval ls < /dev/null && pwd -P >| /tmp/c", "ls"),
            (
                r#"eval 'echo '"'"'a b'"'"' > x' < /dev/null && pwd -P >| /tmp/c"#,
                "echo 'a b' > x",
            ),
            // gemini-cli, with and without the guard for bash options
            (
                "shopt -u promptvars nullglob extglob nocaseglob dotglob; _bgpids_file=/tmp/x\n(\n  trap 'jobs -p > \"$_bgpids_file\"' EXIT\necho hi > out.txt; cat /etc/hostname\n)\n__code=$?\nexit $__code",
                "echo hi > out.txt; cat /etc/hostname",
            ),
            (
                "{ wc -l < a.txt; }; __code=$?; pgrep -g 0 >/tmp/p.tmp 2>&1; exit $__code;",
                "wc -l < a.txt",
            ),
            // opencode: a JSON string
            (
                "shopt -s expand_aliases\ncd -- \"$1\"\neval \"echo \\\"a\\\"\\nls\"\n",
                "echo \"a\"\nls",
            ),
            // codex
            (
                "if . '/h/s.sh' >/dev/null 2>&1; then :; fi; exec '/bin/bash' -c 'echo '\\''x'\\'''",
                "echo 'x'",
            ),
        ];
        for (text, command) in table {
            assert!(found(text, command), "{command:?} not found in {text:?}");
        }
    }

    #[test]
    fn words_are_whole() {
        for (text, command) in [
            ("false", "ls"),
            ("cat tools/ls", "ls"),
            ("ls -la", "ls -l"),
            ("python3 a.pyc", "python3 a.py"),
            ("", "ls"),
            ("ls", ""),
            ("ls", "ls -la"),
        ] {
            assert!(!found(text, command), "{command:?} found in {text:?}");
        }
    }

    #[test]
    fn a_cut_text_matches_only_with_enough_of_it() {
        let command = Skeleton::of(&format!("printf {} > x", "abcdefgh".repeat(20)));
        assert!(
            Skeleton::of(&format!("eval 'printf {}", "abcdefgh".repeat(9))).breaks_off_in(&command)
        );
        assert!(!Skeleton::of("eval 'printf abc").breaks_off_in(&command));
        assert!(
            !Skeleton::of(&format!("eval 'printf {}x", "abcdefgh".repeat(9)))
                .breaks_off_in(&command)
        );
    }

    proptest! {
        #[test]
        fn quoting_never_hides_a_command(command in "[ -~]{1,60}", before in "[a-z ;]{0,9}") {
            prop_assume!(!Skeleton::of(&command).is_empty());
            let single = command.replace('\'', "'\\''");
            let double = command.replace('\'', "'\"'\"'");
            let json = serde_json::Value::from(command.as_str()).to_string();
            for quoted in [format!("'{single}'"), format!("'{double}'"), json] {
                let text = format!("{before} eval {quoted} < /dev/null");
                prop_assert!(found(&text, &command), "{}", text);
            }
        }

        #[test]
        fn any_text_is_handled(text in any::<String>(), command in any::<String>()) {
            let (text, command) = (Skeleton::of(&text), Skeleton::of(&command));
            let _ = (text.contains(&command), text.breaks_off_in(&command), text.equals(&command));
        }
    }
}
