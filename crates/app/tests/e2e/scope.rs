//! Who is not watched leaves no trace, whatever it shares with who is.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use agentsight_testkit::{Demo, DemoOptions, Script, ToolRequest, Turn};

use crate::support::{PYTHON, Site};

/// Posts the same over and over, until its input ends.
const BYSTANDER: &str = "\
import http.client, ssl, sys, threading
url, ca, marker, folder = sys.argv[1:]
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
context = ssl.create_default_context(cafile=ca)
connection = http.client.HTTPSConnection(url.removeprefix('https://'), context=context)
rounds = 0
while not done.is_set():
    body = '{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}' % marker
    open(f'{folder}/{marker}', 'w').close()
    connection.request('POST', '/v1/messages', body, {'x-api-key': marker})
    connection.getresponse().read()
    rounds += 1
    if rounds == 1:
        print('going', flush=True)
print(rounds)
";

/// The same `libssl.so`, the same model, at the same time, and a child of the same shell.
#[test]
#[ignore = "needs root"]
fn a_bystander_with_the_same_library_is_nowhere() {
    const MARKER: &str = "BYSTANDER-4f1d0c";
    let turns = (0..30).map(|_| Turn::text("Again.").tool(ToolRequest::shell("true")));
    let script = Script::new(turns.chain([Turn::text("Enough. INSIDE-77aa.")]));
    let demo = Demo::start_with(&DemoOptions::default(), script, "Go on.").unwrap();
    let site = Site::new();
    let mut bystander = Command::new(PYTHON)
        .args(["-c", BYSTANDER, &demo.server().url()])
        .arg(demo.server().ca_pem_path())
        .arg(MARKER)
        .arg(site.work())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(bystander.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "going");

    site.run(demo.command()).cwd(demo.workspace()).end().ok();
    drop(bystander.stdin.take());
    let rounds: u64 = lines.next().unwrap().unwrap().parse().unwrap();
    assert!(bystander.wait().unwrap().success());
    assert!(rounds > 10, "the bystander did too little to be overlooked");

    let session = site.recorded();
    session.assert_nothing_dropped();
    assert!(session.json.contains("INSIDE-77aa"));
    assert_eq!(session.document.llm_calls.len(), 31);
    session.assert_without(&[MARKER]);
    let pid = bystander.id();
    assert!(
        session
            .document
            .processes
            .iter()
            .all(|process| process.pid != pid)
    );
    assert!(
        !session
            .records
            .iter()
            .any(|record| record.contains(&format!("\"{pid}.")))
    );
}

/// A daemon left by an earlier session is not part of the next one.
#[test]
#[ignore = "needs root"]
fn what_an_earlier_session_left_behind_is_not_in_the_next() {
    let first = Site::new();
    let file = first.path("kept-open");
    // It ends by itself after four seconds.
    let script = format!(
        "(for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo LEFT-BEHIND >> {}; done) & exit 0",
        file.display()
    );
    first.run_script(&script).end().ok();
    let second = Site::new();
    second.run(["sleep", "1.2"]).end().ok();
    assert!(
        file.exists(),
        "the process that was left behind did nothing"
    );
    let session = second.recorded();
    session.assert_without(&["kept-open"]);
    assert_eq!(session.document.processes.len(), 1);
    assert_eq!(first.recorded().document.session.exit_code, Some(0));
}
