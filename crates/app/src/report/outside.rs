//! What belongs to no tool call: what an agent does of its own accord.

use std::collections::{BTreeMap, BTreeSet};

use agentsight_model::document::Action;

use super::index::{Index, argv_of, file_name, number_of, text_of};
use super::layout::{Page, Style};
use super::summary::{INDENT, MAX_LISTED, row};
use super::text::{bytes, count, fit_path, number, one_line, plain};

/// Writes the section, if there is anything to say.
pub(super) fn write(page: &mut Page, index: &Index<'_>) {
    let of_kind = |kinds: &[&str]| -> Vec<&Action> {
        let of_kind = |action: &&&Action| kinds.contains(&action.kind.as_str());
        index.outside.iter().filter(of_kind).copied().collect()
    };
    let mut programs = of_kind(&["process.exec"]);
    programs.retain(|action| !index.is_agent_itself(action.process));
    let created = of_kind(&["file.create", "file.write", "file.truncate", "file.rename"]);
    let deleted = of_kind(&["file.delete"]);
    let read = of_kind(&["file.read", "file.open"]);
    if programs.is_empty() && created.is_empty() && deleted.is_empty() && read.is_empty() {
        return;
    }
    page.heading("Outside any tool call");
    ran(page, &programs);
    changed(page, index, "wrote", Style::Good, &created);
    changed(page, index, "deleted", Style::Bad, &deleted);
    reads(page, index, &read);
}

fn ran(page: &mut Page, programs: &[&Action]) {
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for action in programs {
        let argv = argv_of(action);
        let name = argv.first().map_or_else(
            || text_of(action, "process.executable.path"),
            String::as_str,
        );
        *times.entry(one_line(file_name(name))).or_default() += 1;
    }
    let mut names: Vec<_> = times.into_iter().collect();
    names.sort_by(|(a, a_times), (b, b_times)| b_times.cmp(a_times).then_with(|| a.cmp(b)));
    let hidden = names.len().saturating_sub(MAX_LISTED);
    let mut texts: Vec<String> = names
        .into_iter()
        .take(MAX_LISTED)
        .map(|(name, times)| {
            if times > 1 {
                format!("{name} ×{times}")
            } else {
                name
            }
        })
        .collect();
    if hidden > 0 {
        texts.push(format!("{hidden} more"));
    }
    if !texts.is_empty() {
        page.line(
            INDENT,
            &row("ran", Style::Plain).then(Style::Plain, texts.join(", ")),
        );
    }
}

/// Files in the workspace are named; the others, by which agents keep their own state, are summed up.
fn changed(page: &mut Page, index: &Index<'_>, verb: &str, style: Style, actions: &[&Action]) {
    let mut files: BTreeMap<&str, u64> = BTreeMap::new();
    for action in actions {
        let size = files.entry(text_of(action, "file.path")).or_default();
        *size = size.saturating_add(number_of(action, "agentsight.bytes").unwrap_or(0));
    }
    // Devices keep nothing, and what is below /proc is no file.
    files.retain(|path, _| !path.starts_with("/dev/") && !path.starts_with("/proc/"));
    let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (path, size) in files {
        let (count, sum) = places.entry(place_to_name(index, path)).or_default();
        *count += 1;
        *sum = sum.saturating_add(size);
    }
    let hidden = places.len().saturating_sub(MAX_LISTED);
    let room = page.width().saturating_sub(40).max(20);
    for (position, (place, (files, size))) in places.iter().take(MAX_LISTED).enumerate() {
        let label = if position == 0 { verb } else { "" };
        let mut line = row(label, style).then(Style::Plain, fit_path(&plain(place), room));
        if *files > 1 {
            line = line.note(Style::Dim, count(*files, "file", "files"));
        }
        if *size > 0 {
            line = line.note(Style::Dim, bytes(*size));
        }
        page.line(INDENT, &line);
    }
    if hidden > 0 {
        let text = format!("… {}", count(hidden as u64, "more place", "more places"));
        page.line(INDENT, &row("", style).then(Style::Dim, text));
    }
}

/// A file of the workspace by its name; any other by the hidden directory, the entry of a directory for
/// temporary files, or else the directory that it is in.
fn place_to_name(index: &Index<'_>, path: &str) -> String {
    let short = index.short_path(path);
    if short != path {
        return short.to_owned();
    }
    let components: Vec<&str> = path.split('/').collect();
    let up_to = |last: usize, name: &str| {
        let above = components
            .iter()
            .take(last)
            .copied()
            .collect::<Vec<_>>()
            .join("/");
        format!("{above}/{name}*")
    };
    let hidden = components
        .iter()
        .enumerate()
        .find_map(|(position, component)| {
            let name = component
                .strip_prefix('.')
                .filter(|name| !name.is_empty())?;
            // `.tool`, `.tool.json` and `.tool.json.lock` are one tool's.
            Some(up_to(
                position,
                &format!(".{}", name.split('.').next().unwrap_or(name)),
            ))
        });
    let temporary = || {
        let tmp = components
            .iter()
            .rposition(|component| *component == "tmp")?;
        Some(up_to(tmp + 1, components.get(tmp + 1)?))
    };
    hidden
        .or_else(temporary)
        .unwrap_or_else(|| match path.rsplit_once('/') {
            Some((directory, _)) if !directory.is_empty() => format!("{directory}/*"),
            _ => path.to_owned(),
        })
}

/// Kinds of files that are read without anybody's interest.
fn place_of(path: &str, cwd: &str) -> &'static str {
    let starts = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    let packages = ["/node_modules/", "/site-packages/", "/dist-packages/"];
    if packages.iter().any(|part| path.contains(part)) {
        "of installed packages"
    } else if starts(&[
        "/usr/", "/lib", "/bin/", "/sbin/", "/etc/", "/proc/", "/sys/", "/dev/", "/opt/", "/run/",
    ]) {
        "of the system"
    } else if !cwd.is_empty() && path.starts_with(cwd) {
        "of the workspace"
    } else {
        "elsewhere"
    }
}

fn reads(page: &mut Page, index: &Index<'_>, actions: &[&Action]) {
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for action in actions {
        let path = text_of(action, "file.path");
        places
            .entry(place_of(path, &index.doc.session.cwd))
            .or_default()
            .insert(path);
    }
    let texts: Vec<String> = places
        .iter()
        .map(|(place, paths)| format!("{} {place}", number(paths.len() as u64)))
        .collect();
    if !texts.is_empty() {
        let total: usize = places.values().map(BTreeSet::len).sum();
        let line =
            row("read", Style::Plain).then(Style::Plain, count(total as u64, "file", "files"));
        page.line(
            INDENT,
            &line.then(Style::Dim, format!(": {}", texts.join(", "))),
        );
    }
}
