//! What kind of thing a tool call asks for, and the words that can be found again in what the machine did.
//!
//! Agents name the same tool differently (`Bash`, `exec_command`, `run_shell_command`) and its arguments
//! too, so a known name decides first and the argument keys decide for all others.

use serde_json::{Map, Value};

/// Arguments looked at per tool call. Real tools have fewer than ten.
const MAX_ARGUMENTS: usize = 64;

/// Depth of nested arguments looked at: `{"action": {"command": [..]}}` and `{"edits": [{"path": ..}]}`.
const MAX_DEPTH: usize = 4;

/// Longest string that may be a path.
const MAX_PATH_BYTES: usize = 4096;

/// Longest argument that is taken as words to be found again, where it is no command.
const MAX_WORDS_BYTES: usize = 4096;

/// What a tool call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolKind {
    Shell,
    FileRead,
    FileWrite,
    Mcp,
    Other,
}

impl ToolKind {
    /// The name used in the session document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::FileRead => "file_read",
            Self::FileWrite => "file_write",
            Self::Mcp => "mcp",
            Self::Other => "other",
        }
    }
}

/// A tool call, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolShape {
    pub(crate) kind: ToolKind,
    /// Texts for a shell or another interpreter, in order.
    pub(crate) commands: Vec<String>,
    /// Argument vectors, where the tool takes the command as a list.
    pub(crate) argvs: Vec<Vec<String>>,
    /// Paths of files that it is about.
    pub(crate) paths: Vec<String>,
    /// Other short strings, which a program that the tool runs may carry among its arguments.
    pub(crate) words: Vec<String>,
}

const SHELL_TOOLS: &str = "\
    bash shell sh shell_command exec_command run_shell_command execute_command run_command \
    terminal run_bash local_shell local_shell_call shell_call container.exec execute_bash \
    execute_shell run_terminal_cmd run_in_terminal run_terminal_command developer__shell \
    unified_exec cmd";

const READ_TOOLS: &str = "\
    read read_file read_text_file view_file view cat open_file read_many_files \
    read_media_file read_multiple_files notebookread notebook_read view_image";

const WRITE_TOOLS: &str = "\
    write write_file create_file edit multiedit multi_edit edit_file replace str_replace \
    apply_patch apply_diff patch notebookedit notebook_edit insert_edit_into_file \
    write_to_file replace_in_file delete_file create";

const COMMAND_KEYS: &str = "command cmd script commands commandline command_line";

/// Keys whose strings are text for an interpreter other than a shell.
const CODE_KEYS: &str = "code source python javascript";

/// Keys whose strings are the content of files, not words about them.
const WRITTEN_KEYS: &str = "\
    content contents text file_text new_string old_string new_str old_str newstring \
    oldstring";

/// Keys whose strings are prose.
const PROSE_KEYS: &str = "description explanation justification prompt";

impl ToolShape {
    /// Takes a tool call apart.
    pub(crate) fn of(name: &str, arguments: &Value) -> Self {
        let mut shape = Self {
            kind: ToolKind::Other,
            commands: Vec::new(),
            argvs: Vec::new(),
            paths: Vec::new(),
            words: Vec::new(),
        };
        let plain_name = plain_name(name);
        let named = kind_by_name(&plain_name);
        match arguments {
            Value::Object(map) => shape.read_map(map, named, MAX_DEPTH),
            // A custom tool takes one string: a command, or a patch.
            Value::String(text) if named == Some(ToolKind::Shell) => shape.command(text),
            Value::String(text) => shape.patched_paths(text),
            _ => {}
        }
        shape.kind = if name.starts_with("mcp__") {
            ToolKind::Mcp
        } else {
            named.unwrap_or_else(|| shape.kind_by_keys(&plain_name, arguments))
        };
        if let Some(kind) = editor_command(arguments) {
            shape.kind = kind;
            shape.commands.clear();
        }
        shape
    }

    fn read_map(&mut self, map: &Map<String, Value>, named: Option<ToolKind>, depth: usize) {
        for (key, value) in map.iter().take(MAX_ARGUMENTS) {
            self.read_argument(&key.to_ascii_lowercase(), value, named, depth);
        }
    }

    fn read_argument(&mut self, key: &str, value: &Value, named: Option<ToolKind>, depth: usize) {
        let shell_input = named == Some(ToolKind::Shell) && key == "input";
        let is_command = listed(COMMAND_KEYS, key) || shell_input;
        match value {
            Value::String(text) if is_command => self.command(text),
            Value::String(text) if listed(CODE_KEYS, key) => self.commands.push(text.clone()),
            Value::String(text) if key == "patch" || key == "input" || key == "diff" => {
                self.patched_paths(text);
            }
            Value::String(_) if listed(WRITTEN_KEYS, key) || listed(PROSE_KEYS, key) => {}
            Value::String(text) => self.word(key, text),
            Value::Array(items) if key == "commands" => {
                for item in items.iter().take(MAX_ARGUMENTS) {
                    self.read_argument("command", item, named, depth.saturating_sub(1));
                }
            }
            Value::Array(items) if is_command => self.argv(items),
            Value::Array(items) if depth > 0 => {
                for item in items.iter().take(MAX_ARGUMENTS) {
                    self.read_argument(key, item, named, depth.saturating_sub(1));
                }
            }
            Value::Object(map) if depth > 0 => self.read_map(map, named, depth.saturating_sub(1)),
            _ => {}
        }
    }

    fn command(&mut self, text: &str) {
        self.patched_paths(text);
        if !text.trim().is_empty() {
            self.commands.push(text.to_owned());
        }
    }

    /// A command given as a list: `["bash", "-lc", TEXT]`, or a program and its arguments.
    fn argv(&mut self, items: &[Value]) {
        let argv: Vec<String> = items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        match argv.as_slice() {
            [program, option, text] if is_shell(program) && takes_text(option) => {
                self.patched_paths(text);
                self.commands.push(text.clone());
            }
            [] => return,
            words => self.commands.push(words.join(" ")),
        }
        self.argvs.push(argv);
    }

    fn word(&mut self, key: &str, text: &str) {
        if is_path_key(key) || looks_like_path(text) {
            if !text.is_empty() && text.len() <= MAX_PATH_BYTES {
                self.paths.push(text.to_owned());
            }
        } else if text.len() <= MAX_WORDS_BYTES {
            self.words.push(text.to_owned());
        }
    }

    /// Files named in a patch in the form that `apply_patch` takes.
    fn patched_paths(&mut self, text: &str) {
        if !text.contains("*** Begin Patch") {
            return;
        }
        let marks = [
            "*** Add File: ",
            "*** Update File: ",
            "*** Delete File: ",
            "*** Move to: ",
        ];
        let named = text
            .lines()
            .filter_map(|line| marks.iter().find_map(|mark| line.strip_prefix(mark)));
        for path in named.take(MAX_ARGUMENTS) {
            self.word("path", path.trim());
        }
    }

    fn kind_by_keys(&self, name: &str, arguments: &Value) -> ToolKind {
        let Value::Object(map) = arguments else {
            return ToolKind::Other;
        };
        let keys: Vec<String> = map
            .keys()
            .take(MAX_ARGUMENTS)
            .map(|key| key.to_ascii_lowercase())
            .collect();
        let has = |wanted: &str| keys.iter().any(|key| listed(wanted, key));
        let has_path = keys.iter().any(|key| is_path_key(key));
        if !self.commands.is_empty() && has(COMMAND_KEYS) {
            ToolKind::Shell
        } else if has_path && has(WRITTEN_KEYS) || keys.iter().any(|key| key == "patch") {
            ToolKind::FileWrite
        } else if has_path
            && ["read", "view", "open", "cat"]
                .iter()
                .any(|verb| name.contains(verb))
        {
            ToolKind::FileRead
        } else {
            ToolKind::Other
        }
    }
}

/// Whether `word` is one of the words of `list`, which are separated by spaces.
pub(crate) fn listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// The name without a server or name space before it, in lower case.
fn plain_name(name: &str) -> String {
    let name = name.rsplit("__").next().unwrap_or(name);
    let name = name.strip_prefix("functions.").unwrap_or(name);
    name.to_ascii_lowercase()
}

fn kind_by_name(name: &str) -> Option<ToolKind> {
    let known = [
        (SHELL_TOOLS, ToolKind::Shell),
        (READ_TOOLS, ToolKind::FileRead),
        (WRITE_TOOLS, ToolKind::FileWrite),
    ];
    known
        .into_iter()
        .find(|(names, _)| listed(names, name))
        .map(|(_, kind)| kind)
}

/// Anthropic's text editor tool says what it does in `command`, which is no shell command.
fn editor_command(arguments: &Value) -> Option<ToolKind> {
    arguments.get("path")?.as_str()?;
    match arguments.get("command")?.as_str()? {
        "view" => Some(ToolKind::FileRead),
        "create" | "str_replace" | "insert" | "undo_edit" => Some(ToolKind::FileWrite),
        _ => None,
    }
}

fn is_path_key(key: &str) -> bool {
    const EXACT: &str =
        "file files filename file_name directory dir folder uri workdir cwd working_directory";
    key.contains("path") || listed(EXACT, key) || key.ends_with("_file")
}

fn looks_like_path(text: &str) -> bool {
    let starts = ["/", "./", "../", "~/"]
        .iter()
        .any(|start| text.starts_with(start));
    starts && text.len() > 1 && !text.contains(char::is_whitespace)
}

/// Whether a program is a shell, by its name.
pub(crate) fn is_shell(program: &str) -> bool {
    const SHELLS: &str = "sh bash dash zsh ksh fish ash busybox";
    let name = program.rsplit('/').next().unwrap_or(program);
    listed(SHELLS, name.trim_start_matches('-'))
}

/// Whether a shell's option says that a command text follows: `-c`, `-lc`, `-ic`, ...
pub(crate) fn takes_text(option: &str) -> bool {
    option.starts_with('-') && !option.starts_with("--") && option.ends_with('c')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_of_the_tools_of_real_agents() {
        let table = [
            (
                "Bash",
                json!({"command": "ls", "description": "List"}),
                ToolKind::Shell,
            ),
            ("Read", json!({"file_path": "/w/a"}), ToolKind::FileRead),
            (
                "Write",
                json!({"file_path": "/w/a", "content": "x"}),
                ToolKind::FileWrite,
            ),
            (
                "Edit",
                json!({"file_path": "/w/a", "old_string": "x", "new_string": "y"}),
                ToolKind::FileWrite,
            ),
            (
                "run_shell_command",
                json!({"command": "ls"}),
                ToolKind::Shell,
            ),
            (
                "read_file",
                json!({"absolute_path": "/w/a"}),
                ToolKind::FileRead,
            ),
            (
                "write_file",
                json!({"file_path": "/w/a", "content": "x"}),
                ToolKind::FileWrite,
            ),
            (
                "shell",
                json!({"command": ["bash", "-lc", "ls"]}),
                ToolKind::Shell,
            ),
            ("exec_command", json!({"cmd": "ls"}), ToolKind::Shell),
            (
                "local_shell",
                json!({"action": {"command": ["ls", "-l"]}}),
                ToolKind::Shell,
            ),
            ("bash", json!({"command": "ls"}), ToolKind::Shell),
            ("read", json!({"filePath": "/w/a"}), ToolKind::FileRead),
            (
                "apply_patch",
                json!("*** Begin Patch\n*** Add File: a.txt\n+x"),
                ToolKind::FileWrite,
            ),
            (
                "str_replace_based_edit_tool",
                json!({"command": "create", "path": "/w/a", "file_text": "x"}),
                ToolKind::FileWrite,
            ),
            (
                "str_replace_based_edit_tool",
                json!({"command": "view", "path": "/w/a"}),
                ToolKind::FileRead,
            ),
            (
                "mcp__fs__write_file",
                json!({"path": "/w/a", "content": "x"}),
                ToolKind::Mcp,
            ),
            ("do_it", json!({"script": "ls"}), ToolKind::Shell),
            (
                "save",
                json!({"path": "a", "content": "x"}),
                ToolKind::FileWrite,
            ),
            (
                "delegate",
                json!({"worker": "a", "task": "b"}),
                ToolKind::Other,
            ),
            (
                "Grep",
                json!({"pattern": "x", "path": "/w"}),
                ToolKind::Other,
            ),
            ("Bash", json!(null), ToolKind::Shell),
            ("odd", json!([1, 2]), ToolKind::Other),
        ];
        for (name, arguments, kind) in table {
            assert_eq!(
                ToolShape::of(name, &arguments).kind,
                kind,
                "{name} {arguments}"
            );
        }
    }

    #[test]
    fn commands_paths_and_words_are_told_apart() {
        let shape = ToolShape::of(
            "shell",
            &json!({"command": ["bash", "-lc", "ls -l"], "workdir": "/w"}),
        );
        assert_eq!(shape.commands, ["ls -l"]);
        assert_eq!(shape.argvs.len(), 1);
        assert_eq!(shape.paths, ["/w"]);

        let shape = ToolShape::of("shell", &json!({"command": ["git", "status"]}));
        assert_eq!(shape.commands, ["git status"]);

        let patch = "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\nEOF";
        let shape = ToolShape::of("shell", &json!({"command": ["bash", "-lc", patch]}));
        assert_eq!(shape.paths, ["src/a.rs", "src/b.rs"]);

        let shape = ToolShape::of("Grep", &json!({"pattern": "fn main", "path": "src"}));
        assert_eq!(
            (shape.words.as_slice(), shape.paths.as_slice()),
            (&["fn main".to_owned()][..], &["src".to_owned()][..])
        );
    }

    #[test]
    fn hostile_arguments_are_bounded() {
        let mut deep = json!({"command": "x"});
        for _ in 0..100 {
            deep = json!({"a": [deep]});
        }
        assert!(ToolShape::of("x", &deep).commands.is_empty());
        let many: Vec<_> = (0..10_000).map(|n| json!(format!("/p/{n}"))).collect();
        assert!(ToolShape::of("x", &json!({"paths": many})).paths.len() <= MAX_ARGUMENTS);
    }
}
