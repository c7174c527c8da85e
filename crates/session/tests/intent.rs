//! Tool calls joined to what they caused, with the wrappers and habits of real agents.

mod story;

use agentsight_model::{Message, ProcessKey};
use serde_json::json;
use story::*;

/// A story in which the model asks for shell commands in one answer, and the request that brings results.
fn asked(commands: &[(&str, &str)]) -> (Story, ProcessKey) {
    let (mut story, agent) = Story::new();
    let calls = commands
        .iter()
        .map(|(id, command)| asks(Some(id), "Bash", json!({ "command": command })))
        .collect();
    story.llm(agent, vec![user("do it")], calls);
    (story, agent)
}

fn answered(story: &mut Story, agent: ProcessKey, ids: &[&str]) {
    story.tick(5);
    let results: Vec<Message> = ids
        .iter()
        .map(|id| result(Some(id), None, "done"))
        .collect();
    story.llm(agent, results, vec![text("finished")]);
}

#[test]
fn commands_are_found_in_the_wrappers_of_real_agents() {
    let command = "echo 'hi' > out.txt; cat /etc/hostname";
    let wrapped = [
        ("argv-exact", vec!["bash", "-c", command]),
        ("argv-exact", vec!["/bin/bash", "-lc", command]),
        (
            "argv-contains",
            vec![
                "/bin/bash",
                "-c",
                "-l",
                "source /h/s.sh && eval 'echo '\"'\"'hi'\"'\"' > out.txt; cat /etc/hostname' < /dev/null && pwd -P >| /tmp/c-cwd",
            ],
        ),
        (
            "argv-contains",
            vec![
                "bash",
                "-c",
                "{ echo 'hi' > out.txt; cat /etc/hostname; }; __code=$?; pgrep -g 0 >/tmp/p 2>&1; exit $__code;",
            ],
        ),
        (
            "argv-contains",
            vec![
                "bash",
                "-l",
                "-c",
                "shopt -s expand_aliases\ncd -- \"$1\"\neval \"echo 'hi' > out.txt; cat /etc/hostname\"\n",
                "opencode",
                "/w",
            ],
        ),
    ];
    for (evidence, argv) in wrapped {
        let (mut story, agent) = asked(&[("t1", command)]);
        let shell = story.spawn(agent, "/usr/bin/bash", &argv);
        let cat = story.spawn(shell, "/usr/bin/cat", &["cat", "/etc/hostname"]);
        story.reads(cat, "/etc/hostname");
        story.writes(shell, "/w/out.txt");
        story.exit(cat, 0);
        story.exit(shell, 0);
        answered(&mut story, agent, &["t1"]);
        let document = story.document();

        let exec = action(&document, "process.exec", "bash");
        assert_eq!(exec.tool_call.as_deref(), Some("t1"), "{argv:?}");
        assert_eq!(
            exec.link.as_ref().unwrap().evidence,
            [evidence, "window"],
            "{argv:?}"
        );
        assert_eq!(exec.intent, "stated");
        let cat = action(&document, "process.exec", "cat");
        assert_eq!(cat.link.as_ref().unwrap().evidence, ["lineage"]);
        assert_eq!(
            (cat.tool_call.as_deref(), cat.intent.as_str()),
            (Some("t1"), "stated")
        );
        assert_eq!(action(&document, "file.write", "out.txt").intent, "stated");
        assert_eq!(action(&document, "file.read", "hostname").intent, "stated");
        let call = tool(&document, "t1");
        assert_eq!(call.status, "ok");
        assert!(call.actions.contains(&exec.id));
    }
}

#[test]
fn a_command_given_as_a_list_or_without_a_shell() {
    let (mut story, agent) = Story::new();
    story.llm(
        agent,
        vec![user("x")],
        vec![
            asks(
                Some("t1"),
                "shell",
                json!({"command": ["bash", "-lc", "ls"]}),
            ),
            asks(Some("t2"), "shell", json!({"command": ["git", "status"]})),
            asks(Some("t3"), "execute_command", json!({"command": "wc -l a"})),
        ],
    );
    story.spawn(agent, "/usr/bin/bash", &["bash", "-lc", "ls"]);
    story.spawn(agent, "/usr/bin/git", &["git", "status"]);
    story.spawn(agent, "/usr/bin/wc", &["wc", "-l", "a"]);
    let document = story.document();
    for (text, id) in [("-lc", "t1"), ("status", "t2"), ("wc", "t3")] {
        let [(cause, evidence)] = &causes_of(&document, text)[..] else {
            panic!("{text}")
        };
        assert_eq!(
            (cause.as_deref(), evidence[0].as_str()),
            (Some(id), "argv-exact")
        );
    }
}

#[test]
fn parallel_identical_calls_get_one_process_each_in_order() {
    let (mut story, agent) = asked(&[("t1", "sleep 1"), ("t2", "sleep 1"), ("t3", "sleep 1")]);
    for _ in 0..3 {
        story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "sleep 1"]);
    }
    answered(&mut story, agent, &["t1", "t2", "t3"]);
    let causes: Vec<_> = causes_of(&story.document(), "sleep 1")
        .into_iter()
        .map(|cause| cause.0.unwrap())
        .collect();
    assert_eq!(causes, ["t1", "t2", "t3"]);
}

#[test]
fn repeated_calls_are_told_apart_by_their_windows() {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("build")];
    for turn in 0..12 {
        let id = format!("t{turn}");
        let call = asks(Some(&id), "Bash", json!({"command": "python3 build.py"}));
        story.llm(agent, history.clone(), vec![call.clone()]);
        let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "python3 build.py"]);
        story.spawn(shell, "/usr/bin/python3.12", &["python3", "build.py"]);
        history.extend([
            assistant(vec![call]),
            result(Some(&id), None, "no such file"),
        ]);
    }
    story.llm(agent, history, vec![text("It keeps failing.")]);
    let document = story.document();
    let causes: Vec<_> = causes_of(&document, "build.py")
        .into_iter()
        .map(|cause| cause.0.unwrap())
        .collect();
    let expected: Vec<_> = (0..12)
        .flat_map(|turn| [format!("t{turn}"), format!("t{turn}")])
        .collect();
    assert_eq!(causes, expected);
    assert_eq!(document.tool_calls.len(), 12);
    assert!(
        document
            .tool_calls
            .iter()
            .all(|tool| tool.status == "ok" && tool.result == Some(json!("no such file")))
    );
}

#[test]
fn a_command_within_another_goes_to_the_longer_one() {
    let (mut story, agent) = asked(&[("t1", "ls -la"), ("t2", "cd sub && ls -la")]);
    story.spawn(
        agent,
        "/usr/bin/bash",
        &["bash", "-c", "eval 'cd sub && ls -la' < /dev/null"],
    );
    story.spawn(
        agent,
        "/usr/bin/bash",
        &["bash", "-c", "eval 'ls -la' < /dev/null"],
    );
    let document = story.document();
    assert_eq!(causes_of(&document, "sub")[0].0.as_deref(), Some("t2"));
    assert_eq!(causes_of(&document, "eval 'ls")[0].0.as_deref(), Some("t1"));
}

#[test]
fn a_daemon_that_detaches_stays_with_its_call() {
    let (mut story, agent) = asked(&[("t1", "./serve.sh &")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "./serve.sh &"]);
    let middle = story.fork(shell);
    let daemon = story.fork(middle);
    story.exit(middle, 0);
    story.exit(shell, 0);
    answered(&mut story, agent, &["t1"]);
    story.tick(1000);
    // Reparented: the kernel says that init is the parent now.
    story.exec(
        daemon,
        ProcessKey {
            tgid: 1,
            start_ns: 1,
        },
        "/usr/bin/nc",
        &["nc", "-l", "80"],
    );
    story.connects(daemon, "10.0.0.1:443", 1);
    let document = story.document();
    let exec = action(&document, "process.exec", "/nc");
    assert_eq!(
        (exec.tool_call.as_deref(), exec.intent.as_str()),
        (Some("t1"), "unstated")
    );
    assert_eq!(
        action(&document, "network.connect", "10.0.0.1")
            .tool_call
            .as_deref(),
        Some("t1")
    );
}

#[test]
fn what_a_script_does_beyond_its_name_is_unstated() {
    let (mut story, agent) = asked(&[("t1", "./build.sh")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "./build.sh"]);
    let script = story.fork(shell);
    story.push(
        script,
        agentsight_model::EventBody::ProcessExec(Box::new(agentsight_model::ProcessExec {
            parent: shell,
            exe: file("/usr/bin/bash"),
            filename: "./build.sh".into(),
            interpreter: Some("/bin/bash".into()),
            argv: vec!["/bin/bash".into(), "./build.sh".into()],
            cwd: CWD.into(),
            ..Default::default()
        })),
    );
    story.reads(script, "/etc/ld.so.cache");
    story.reads(script, "/w/build.sh");
    story.writes(script, "/w/main.c");
    let rm = story.spawn(script, "/usr/bin/rm", &["rm", "-f", "old-report.txt"]);
    story.deletes(rm, "/w/old-report.txt");
    let cat = story.spawn(script, "/usr/bin/cat", &["cat", "/h/.ssh/id_dummy"]);
    story.reads(cat, "/h/.ssh/id_dummy");
    story.reads(cat, "/usr/lib/locale/C.utf8/LC_CTYPE");
    story.connects(script, "127.0.0.1:9999", 1);
    answered(&mut story, agent, &["t1"]);
    let document = story.document();
    let table = [
        ("file.read", "build.sh", "stated"),
        ("file.read", "ld.so.cache", "implied"),
        ("file.read", "LC_CTYPE", "implied"),
        ("file.write", "main.c", "unstated"),
        ("file.delete", "old-report.txt", "unstated"),
        ("file.read", "id_dummy", "unstated"),
        ("network.connect", "127.0.0.1", "unstated"),
        ("process.exec", "/rm", "unstated"),
    ];
    for (kind, object, intent) in table {
        let action = action(&document, kind, object);
        assert_eq!(action.intent, intent, "{kind} {object}");
        assert_eq!(action.tool_call.as_deref(), Some("t1"));
    }
    let script = document.actions.iter().find(|action| {
        action
            .attributes
            .get("agentsight.process.filename")
            .is_some()
    });
    assert_eq!(script.unwrap().intent, "stated");
}

#[test]
fn files_that_the_agent_itself_uses_are_joined_by_path_and_window() {
    let (mut story, agent) = Story::new();
    story.reads(agent, "/w/NOTES.md");
    let read = asks(Some("t1"), "Read", json!({"file_path": "/w/NOTES.md"}));
    story.llm(agent, vec![user("x")], vec![read.clone()]);
    story.reads(agent, "/w/NOTES.md");
    story.reads(agent, "/h/.agent/settings.json");
    let write = asks(
        Some("t2"),
        "Write",
        json!({"file_path": "/w/a.py", "content": "x"}),
    );
    let again = asks(Some("t3"), "read_file", json!({"path": "NOTES.md"}));
    let history = vec![
        user("x"),
        assistant(vec![read]),
        result(Some("t1"), None, "notes"),
    ];
    story.llm(agent, history, vec![write, again]);
    // Written under another name and renamed, as careful agents do.
    story.writes(agent, "/w/a.py.tmp.1");
    story.renames(agent, "/w/a.py.tmp.1", "/w/a.py");
    story.reads(agent, "/w/NOTES.md");
    answered(&mut story, agent, &["t2", "t3"]);
    let document = story.document();

    let reads: Vec<_> = document
        .actions
        .iter()
        .filter(|action| {
            action.kind == "file.read" && action.attributes["file.path"] == "/w/NOTES.md"
        })
        .map(|action| (action.tool_call.as_deref(), action.intent.as_str()))
        .collect();
    assert_eq!(
        reads,
        [
            (None, "none"),
            (Some("t1"), "stated"),
            (Some("t3"), "stated")
        ]
    );
    assert_eq!(
        action(&document, "file.read", "settings.json").tool_call,
        None
    );
    let rename = action(&document, "file.rename", "a.py");
    assert_eq!(
        (rename.tool_call.as_deref(), rename.intent.as_str()),
        (Some("t2"), "stated")
    );
    assert_eq!(
        rename.link.as_ref().unwrap().evidence,
        ["path-exact", "window"]
    );
    assert_eq!(
        action(&document, "file.write", "a.py.tmp.1")
            .tool_call
            .as_deref(),
        Some("t2")
    );
}

#[test]
fn files_of_a_tool_server_are_joined_by_path() {
    let (mut story, agent) = Story::new();
    let server = story.spawn(agent, "/usr/bin/node", &["node", "server.js"]);
    story.llm(
        agent,
        vec![user("x")],
        vec![asks(
            Some("t1"),
            "mcp__fs__write_file",
            json!({"path": "/w/greeting.txt", "content": "hello"}),
        )],
    );
    story.writes(server, "/w/greeting.txt");
    story.writes(server, "/w/log.txt");
    answered(&mut story, agent, &["t1"]);
    let document = story.document();
    assert_eq!(tool(&document, "t1").kind, "mcp");
    assert_eq!(
        action(&document, "file.write", "greeting.txt")
            .tool_call
            .as_deref(),
        Some("t1")
    );
    assert_eq!(action(&document, "file.write", "log.txt").tool_call, None);
}

#[test]
fn a_command_passed_in_a_variable_is_joined_by_its_window() {
    let (mut story, agent) = asked(&[("t1", "wc -l a.txt"), ("t2", "sort b.txt")]);
    let argv = ["bash", "-c", "eval \"$COMMAND_TEXT\""];
    let first = story.spawn(agent, "/usr/bin/bash", &argv);
    let second = story.spawn(agent, "/usr/bin/bash", &argv);
    story.spawn(first, "/usr/bin/wc", &["wc", "-l", "a.txt"]);
    story.spawn(second, "/usr/bin/sort", &["sort", "b.txt"]);
    answered(&mut story, agent, &["t1", "t2"]);
    story.spawn(agent, "/usr/bin/git", &["git", "status"]);
    let document = story.document();
    let causes = causes_of(&document, "COMMAND_TEXT");
    assert_eq!(causes[0], (Some("t1".into()), vec!["window".into()]));
    assert_eq!(causes[1], (Some("t2".into()), vec!["window".into()]));
    assert_eq!(causes_of(&document, "b.txt")[0].0.as_deref(), Some("t2"));
    assert_eq!(causes_of(&document, "status")[0].0, None);
}

#[test]
fn a_shell_that_lives_on_is_not_joined_but_its_children_are() {
    let (mut story, agent) = asked(&[("t1", "python3 a.py")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "--norc"]);
    story.spawn(shell, "/usr/bin/python3.12", &["python3", "a.py"]);
    let call = asks(Some("t2"), "Bash", json!({"command": "sort b.txt | uniq"}));
    story.llm(agent, vec![result(Some("t1"), None, "ok")], vec![call]);
    story.spawn(shell, "/usr/bin/sort", &["sort", "b.txt"]);
    story.spawn(shell, "/usr/bin/uniq", &["uniq"]);
    answered(&mut story, agent, &["t2"]);
    let document = story.document();
    assert_eq!(causes_of(&document, "--norc")[0].0, None);
    for (text, id) in [("a.py", "t1"), ("b.txt", "t2"), ("uniq", "t2")] {
        assert_eq!(
            causes_of(&document, text)[0].0.as_deref(),
            Some(id),
            "{text}"
        );
    }
}

#[test]
fn a_nested_agent_has_tool_calls_of_its_own() {
    let (mut story, agent) = asked(&[("t1", "helper -p 'count'")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "helper -p 'count'"]);
    let nested = story.spawn(shell, "/usr/bin/helper", &["helper", "-p", "count"]);
    story.llm(
        nested,
        vec![user("count")],
        vec![asks(Some("n1"), "Bash", json!({"command": "ls | wc -l"}))],
    );
    story.spawn(nested, "/usr/bin/git", &["git", "status"]);
    story.spawn(nested, "/usr/bin/bash", &["bash", "-c", "ls | wc -l"]);
    answered(&mut story, nested, &["n1"]);
    story.spawn(nested, "/usr/bin/tidy", &["tidy"]);
    answered(&mut story, agent, &["t1"]);
    let document = story.document();
    assert_eq!(
        causes_of(&document, "ls | wc -l")[0].0.as_deref(),
        Some("n1")
    );
    assert_eq!(causes_of(&document, "tidy")[0].0.as_deref(), Some("t1"));
    let agents: Vec<_> = document
        .agents
        .iter()
        .map(|agent| (agent.name.as_str(), agent.parent.as_deref()))
        .collect();
    assert_eq!(agents, [("agent", None), ("helper", Some("agent-1"))]);
}

#[test]
fn what_comes_from_no_tool_call_says_so() {
    let (mut story, agent) = asked(&[("t1", "ls")]);
    story.tick(5);
    answered(&mut story, agent, &["t1"]);
    story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "ls"]);
    let document = story.document();
    assert_eq!(causes_of(&document, "\"ls\"")[0].0, None);
    assert!(
        document
            .actions
            .iter()
            .all(|action| action.intent == "none" && action.link.is_none())
    );
}

#[test]
fn what_a_program_becomes_is_judged_anew() {
    let (mut story, agent) = asked(&[("t1", "./a.sh")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "./a.sh"]);
    story.exec(shell, agent, "/w/a.sh", &["./a.sh"]);
    story.exec(shell, agent, "/usr/bin/shred", &["shred", "-u", "x"]);
    let document = story.document();
    assert_eq!(action(&document, "process.exec", "/bash").intent, "stated");
    assert_eq!(action(&document, "process.exec", "/a.sh").intent, "stated");
    assert_eq!(
        action(&document, "process.exec", "/shred").intent,
        "unstated"
    );
}

#[test]
fn helpers_are_as_much_asked_for_as_what_they_help() {
    let (mut story, agent) = asked(&[("t1", "gcc -o prog x.c && ./run.sh")]);
    let shell = story.spawn(
        agent,
        "/usr/bin/bash",
        &["bash", "-c", "gcc -o prog x.c && ./run.sh"],
    );
    let gcc = story.spawn(
        shell,
        "/usr/bin/x86_64-linux-gnu-gcc-14",
        &["gcc", "-o", "prog", "x.c"],
    );
    let cc1 = story.spawn(
        gcc,
        "/usr/libexec/gcc/x86_64-linux-gnu/14/cc1",
        &["cc1", "x.c", "-o", "/tmp/ccA.s"],
    );
    story.reads(cc1, "/w/x.c");
    story.writes(cc1, "/tmp/ccA.s");
    story.deletes(gcc, "/tmp/ccA.s");
    let script = story.spawn(shell, "/usr/bin/bash", &["bash", "./run.sh"]);
    let git = story.spawn(script, "/usr/bin/git", &["git", "push"]);
    story.spawn(
        git,
        "/usr/lib/git-core/git-remote-https",
        &["git-remote-https", "origin"],
    );
    story.writes(git, "/w/.git/index");
    let document = story.document();
    let table = [
        ("process.exec", "/cc1", "implied"),
        ("file.read", "x.c", "stated"),
        ("file.write", "ccA.s", "implied"),
        ("file.delete", "ccA.s", "implied"),
        ("process.exec", "/git", "unstated"),
        ("process.exec", "git-remote-https", "unstated"),
        ("file.write", ".git/index", "unstated"),
    ];
    for (kind, object, intent) in table {
        assert_eq!(
            action(&document, kind, object).intent,
            intent,
            "{kind} {object}"
        );
    }
}

#[test]
fn a_relative_path_of_a_server_elsewhere_is_stated() {
    let (mut story, agent) = Story::new();
    let server = story.spawn(agent, "/usr/bin/node", &["node", "server.js"]);
    story.llm(
        agent,
        vec![user("x")],
        vec![asks(
            Some("t1"),
            "mcp__fs__read_file",
            json!({"path": "notes/a.txt"}),
        )],
    );
    story.reads(server, "/data/notes/a.txt");
    answered(&mut story, agent, &["t1"]);
    let document = story.document();
    let read = action(&document, "file.read", "a.txt");
    assert_eq!(
        (read.tool_call.as_deref(), read.intent.as_str()),
        (Some("t1"), "stated")
    );
    assert_eq!(
        read.link.as_ref().unwrap().evidence,
        ["path-suffix", "window"]
    );
}

#[test]
fn an_answer_that_broke_off_and_was_asked_for_again_took_no_process() {
    let (mut story, agent) = Story::new();
    let call = |id| asks(Some(id), "Bash", json!({"command": "make"}));
    story.llm(agent, vec![user("x")], vec![call("cut")]);
    if let Some(event) = story.events.last_mut()
        && let agentsight_model::EventBody::LlmCall(call) = &mut event.body
    {
        call.complete = false;
    }
    story.llm(agent, vec![user("x")], vec![call("whole")]);
    story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "make"]);
    assert_eq!(
        causes_of(&story.document(), "make")[0].0.as_deref(),
        Some("whole")
    );
}

#[test]
fn a_version_manager_is_as_much_asked_for_as_the_program_that_it_finds() {
    let (mut story, agent) = asked(&[("t1", "python3 a.py")]);
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "python3 a.py"]);
    let shim = "/h/.pyenv/shims/python3";
    let python = story.spawn(shell, "/usr/bin/bash", &["bash", shim, "a.py"]);
    story.exec(
        python,
        shell,
        "/usr/bin/bash",
        &["bash", "/h/.pyenv/libexec/pyenv-exec", "python3", "a.py"],
    );
    story.reads(python, "/h/.pyenv/version");
    story.spawn(python, "/usr/bin/readlink", &["readlink", "pyenv"]);
    story.spawn(python, "/usr/bin/curl", &["curl", "http://x"]);
    story.exec(
        python,
        shell,
        "/h/.pyenv/versions/3.11/bin/python3",
        &["python3", "a.py"],
    );
    story.reads(python, "/h/.pyenv/versions/3.11/lib/libpython3.so");
    story.reads(python, "/w/helper.py");
    story.reads(python, "/w/data.csv");
    let document = story.document();
    let table = [
        ("process.exec", "/readlink", "implied"),
        ("process.exec", "/curl", "unstated"),
        ("process.exec", "/python3", "stated"),
        ("file.read", "/version", "implied"),
        ("file.read", "libpython3.so", "implied"),
        ("file.read", "helper.py", "implied"),
        ("file.read", "data.csv", "unstated"),
    ];
    for (kind, object, intent) in table {
        assert_eq!(
            action(&document, kind, object).intent,
            intent,
            "{kind} {object}"
        );
    }
}

#[test]
fn output_goes_where_the_caller_sends_it() {
    let (mut story, agent) = asked(&[("t1", "date")]);
    story.writes(agent, "/tmp/agent/output-1");
    let shell = story.spawn(agent, "/usr/bin/date", &["date"]);
    story.writes(shell, "/tmp/agent/output-1");
    for event in story.events.iter_mut().rev().take(2) {
        match &mut event.body {
            agentsight_model::EventBody::FileOpen(open) => open.inherited = true,
            agentsight_model::EventBody::FileUse(usage) => (usage.opens, usage.creates) = (0, 0),
            _ => {}
        }
    }
    let document = story.document();
    let writes: Vec<_> = document
        .actions
        .iter()
        .filter(|action| action.kind == "file.write")
        .map(|action| action.intent.as_str())
        .collect();
    assert_eq!(writes, ["none", "implied"]);
    assert_eq!(
        document
            .actions
            .iter()
            .filter(|action| action.kind == "file.create")
            .count(),
        1
    );
}

#[test]
fn a_tool_call_has_used_what_its_processes_used() {
    let (mut story, agent) = asked(&[("t1", "make")]);
    let shell = story.spawn(agent, "/bin/bash", &["bash", "-c", "make"]);
    let make = story.spawn(shell, "/usr/bin/make", &["make"]);
    let used = |user_ns, max_rss_bytes| {
        agentsight_model::EventBody::ProcessExit(agentsight_model::ProcessExit {
            code: Some(0),
            signal: None,
            resources: agentsight_model::ResourceUse {
                user_ns,
                max_rss_bytes,
                ..agentsight_model::ResourceUse::default()
            },
        })
    };
    story.push(make, used(70, 4096));
    story.push(shell, used(5, 1024));
    answered(&mut story, agent, &["t1"]);
    story.push(agent, used(1000, 2048));
    let document = story.document();
    let of_call = document.tool_calls[0].resources.unwrap();
    assert_eq!((of_call.user_ns, of_call.max_rss_bytes), (75, 4096));
    let of_session = document.session.resources.unwrap();
    assert_eq!((of_session.user_ns, of_session.max_rss_bytes), (1075, 4096));
}

#[test]
fn without_content_nothing_is_called_unasked() {
    let (mut story, agent) = asked(&[("t1", "./build.sh")]);
    for event in &mut story.events {
        if let agentsight_model::EventBody::SessionStart(start) = &mut event.body {
            start.content = false;
        }
    }
    let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", "./build.sh"]);
    story.writes(shell, "/w/main.c");
    story.reads(shell, "/etc/ld.so.cache");
    story.connects(shell, "10.0.0.1:443", 1);
    answered(&mut story, agent, &["t1"]);
    let document = story.document();
    for (kind, what, intent) in [
        ("file.write", "main.c", "unknown"),
        ("network.connect", "10.0.0.1", "unknown"),
        ("file.read", "ld.so.cache", "implied"),
    ] {
        assert_eq!(action(&document, kind, what).intent, intent, "{what}");
    }
}
