//! Lines with styles, cut to the width of the page.

use super::text::{columns, fit, plain};

/// How a piece of a line looks. Without colour all look the same, so no meaning may rest on it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Name,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Name => "\x1b[36m",
        }
    }
}

/// One line: what is to the left, and a note at the right edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    left: Vec<(Style, String)>,
    right: Vec<(Style, String)>,
}

impl Line {
    /// A line that begins with a piece.
    pub(super) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self::default().then(style, text)
    }

    /// Adds a piece to the left. This is where every text is made plain, so that none is forgotten.
    pub(super) fn then(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.left.push((style, plain(text.as_ref())));
        self
    }

    /// Adds a piece to the note at the right edge, set off from the one before it.
    pub(super) fn note(mut self, style: Style, text: impl AsRef<str>) -> Self {
        if !self.right.is_empty() {
            self.right.push((Style::Dim, " · ".to_owned()));
        }
        self.right.push((style, plain(text.as_ref())));
        self
    }

    fn left_columns(&self) -> usize {
        self.left.iter().map(|(_, text)| columns(text)).sum()
    }

    fn right_columns(&self) -> usize {
        self.right.iter().map(|(_, text)| columns(text)).sum()
    }
}

/// A page that lines are written to.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    color: bool,
    width: usize,
}

/// Columns between what is left and the note at the right edge.
const GUTTER: usize = 2;

impl Page {
    pub(super) fn new(color: bool, width: usize) -> Self {
        Self {
            text: String::new(),
            color,
            width,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// An empty line, unless there is one already or nothing is above it.
    pub(super) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Writes a line behind a prefix. The note stays whole as long as it takes no more than half of the
    /// page; what is left of it gives way.
    pub(super) fn line(&mut self, prefix: &str, line: &Line) {
        let indent = columns(prefix);
        let room = self.width.saturating_sub(indent);
        let note = line
            .right_columns()
            .min(self.width / 2)
            .min(room.saturating_sub(GUTTER));
        let for_left = if note == 0 {
            room
        } else {
            room.saturating_sub(note + GUTTER)
        };
        let left = line.left_columns().min(for_left);
        let mut row = String::new();
        push(&mut row, Style::Dim, prefix, self.color);
        push_pieces(&mut row, &line.left, for_left, self.color);
        if note > 0 {
            let space = room.saturating_sub(left + note);
            row.extend(std::iter::repeat_n(' ', space));
            push_pieces(&mut row, &line.right, note, self.color);
        }
        self.text.push_str(row.trim_end_matches(' '));
        self.text.push('\n');
    }

    /// Writes pieces one after another, on as many lines as they need.
    pub(super) fn flow(&mut self, pieces: &[(Style, String)], between: &str) {
        let mut line = Line::default();
        for (style, text) in pieces {
            let needed = columns(&plain(text)) + columns(between);
            if !line.left.is_empty() && line.left_columns() + needed > self.width {
                self.line("", &std::mem::take(&mut line));
            }
            if !line.left.is_empty() {
                line = line.then(Style::Dim, between);
            }
            line = line.then(*style, text);
        }
        self.line("", &line);
    }

    /// A heading.
    pub(super) fn heading(&mut self, text: &str) {
        self.gap();
        self.line("", &Line::new(Style::Bold, text));
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Writes pieces side by side; an ellipsis marks where they are cut.
fn push_pieces(row: &mut String, pieces: &[(Style, String)], width: usize, color: bool) {
    let total: usize = pieces.iter().map(|(_, text)| columns(text)).sum();
    let mut room = if total > width {
        width.saturating_sub(1)
    } else {
        width
    };
    for (style, text) in pieces {
        let needed = columns(text);
        if needed <= room {
            push(row, *style, text, color);
            room -= needed;
        } else {
            // Keeps the ellipsis in the style of what it stands for.
            if width > 0 {
                push(row, *style, &fit(text, room + 1), color);
            }
            return;
        }
    }
}

fn push(row: &mut String, style: Style, text: &str, color: bool) {
    if text.is_empty() {
        return;
    }
    if color && style != Style::Plain {
        row.push_str(style.code());
        row.push_str(text);
        row.push_str("\x1b[0m");
    } else {
        row.push_str(text);
    }
}

/// The prefixes of the children of a node: that of the child's own line, and that of what is below it.
pub(super) fn branch(prefix: &str, is_last: bool) -> (String, String) {
    if is_last {
        (format!("{prefix}└─ "), format!("{prefix}   "))
    } else {
        (format!("{prefix}├─ "), format!("{prefix}│  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(width: usize, line: &Line) -> String {
        let mut page = Page::new(false, width);
        page.line("│  ", line);
        page.finish()
    }

    #[test]
    fn notes_stand_at_the_right_edge() {
        let line = Line::new(Style::Plain, "left")
            .note(Style::Dim, "a")
            .note(Style::Dim, "b");
        assert_eq!(row(20, &line), "│  left        a · b\n");
        let line = Line::new(Style::Plain, "a rather long text").note(Style::Dim, "note");
        assert_eq!(row(20, &line), "│  a rather l…  note\n");
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        for width in 0..60 {
            let line = Line::new(Style::Plain, "一二三四五")
                .then(Style::Bold, "x".repeat(30))
                .note(Style::Dim, "y".repeat(30));
            let text = row(width, &line);
            let used = columns(text.trim_end_matches('\n'));
            assert!(used <= width.max(3), "{width}: {text}");
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let line = Line::new(Style::Bold, "left \x1b[31m").note(Style::Bad, "right");
        let mut page = Page::new(true, 40);
        page.line("", &line);
        let coloured = page.finish();
        let stripped = ["\x1b[1m", "\x1b[31m", "\x1b[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        let mut page = Page::new(false, 40);
        page.line("", &line);
        assert_eq!(stripped, page.finish());
    }
}
