//! What the locator answers: stacks, hooks, how to read their arguments, and why there is none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Convention, Machine};

/// Everything known about the TLS code in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// The processor that the file is for.
    pub machine: Machine,
    /// GNU build id, in hexadecimal.
    pub build_id: Option<String>,
    /// Size of the file.
    pub file_bytes: u64,
    /// One report per TLS stack that left a trace in the file, used or not.
    pub stacks: Vec<StackReport>,
    /// What could not be looked at, and why. Empty if the whole file was.
    pub limits: Vec<String>,
}

impl Located {
    /// Every hook, with the stack that it belongs to.
    pub fn hooks(&self) -> impl Iterator<Item = (Stack, &Hook)> {
        self.stacks
            .iter()
            .flat_map(|report| report.hooks.iter().map(|hook| (report.stack, hook)))
    }

    /// Whether the file holds a TLS stack whose reads or writes nobody can hook.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.stacks.iter().any(StackReport::is_blind)
    }
}

/// What was found of one TLS stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackReport {
    /// The stack.
    pub stack: Stack,
    /// Its version, where the file tells.
    pub version: Option<String>,
    /// The hooks, in order of their file offset.
    pub hooks: Vec<Hook>,
    /// Functions that should be there and were not found, or not with certainty.
    pub missing: Vec<Missing>,
    /// Another stack in the same file whose hooks see the same bytes. Attach to one of the two.
    pub superseded_by: Option<Stack>,
    /// Another file, where the functions are that are not in this one.
    pub rest_is_in: Option<String>,
    /// What shows that the stack is in the file.
    pub evidence: Vec<String>,
}

impl StackReport {
    /// A report of a stack of which nothing else is known.
    #[must_use]
    pub fn new(stack: Stack, evidence: Vec<String>) -> Self {
        Self {
            stack,
            version: None,
            hooks: Vec::new(),
            missing: Vec::new(),
            superseded_by: None,
            rest_is_in: None,
            evidence,
        }
    }

    pub(crate) fn miss(&mut self, function: &str, reason: impl Into<String>) {
        self.missing.push(Missing {
            function: function.to_owned(),
            reason: reason.into(),
        });
    }

    /// Whether plaintext of this stack cannot be read in both directions.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        let has = |direction| self.hooks.iter().any(|h| h.kind.moves() == Some(direction));
        let is_elsewhere = self.superseded_by.is_some() || self.rest_is_in.is_some();
        let is_complete = has(Direction::Read) && has(Direction::Write);
        !is_elsewhere && !is_complete
    }
}

/// A function without a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its name in the stack's source.
    pub function: String,
    /// Why there is no hook.
    pub reason: String,
}

/// A TLS stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stack {
    /// OpenSSL, and LibreSSL which has its interface.
    #[serde(rename = "openssl")]
    OpenSsl,
    /// BoringSSL.
    #[serde(rename = "boringssl")]
    BoringSsl,
    /// AWS-LC, as a TLS library or as the cryptography under rustls.
    #[serde(rename = "aws-lc")]
    AwsLc,
    /// rustls.
    Rustls,
    /// Go's `crypto/tls`.
    Go,
    /// GnuTLS.
    #[serde(rename = "gnutls")]
    GnuTls,
    /// NSS over NSPR.
    Nss,
    /// Mbed TLS.
    #[serde(rename = "mbedtls")]
    MbedTls,
    /// wolfSSL.
    #[serde(rename = "wolfssl")]
    WolfSsl,
    /// s2n-tls.
    S2n,
    /// Java Secure Socket Extension.
    Jsse,
}

impl Stack {
    /// The name used in JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::BoringSsl => "boringssl",
            Self::AwsLc => "aws-lc",
            Self::Rustls => "rustls",
            Self::Go => "go",
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::MbedTls => "mbedtls",
            Self::WolfSsl => "wolfssl",
            Self::S2n => "s2n",
            Self::Jsse => "jsse",
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place to attach to.
///
/// A hooked function may call another one, on the same thread, before it returns. Both see the same bytes;
/// who attaches counts the outer call only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The function's name in the stack's source.
    pub function: String,
    /// What it does, and in which shape.
    pub kind: HookKind,
    /// Offset of its first instruction in the file: what a uprobe asks for.
    pub file_offset: u64,
    /// Address of its first instruction, as the file was linked.
    pub address: u64,
    /// Where to find object, buffer and length.
    pub convention: Convention,
    /// Where in the function to attach.
    pub attach: Attach,
    /// How sure it is that this is the function.
    pub confidence: Confidence,
    /// What shows that this is the function.
    pub evidence: Vec<String>,
    /// The stack whose hooks see the same bytes, as it does the cryptography: attach to one of the two.
    pub superseded_by: Option<Stack>,
}

/// Which way plaintext goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the program.
    Read,
    /// From the program.
    Write,
}

/// What a hooked function does. One kind has one [`Convention`] per stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HookKind {
    /// `n = read(object, buffer, length)`.
    ReadReturn,
    /// `n = write(object, buffer, length)`.
    WriteReturn,
    /// `1 = read(object, buffer, length, &n)`.
    ReadEx,
    /// `1 = write(object, buffer, length, &n)`.
    WriteEx,
    /// `1 = write(object, buffer, length, flags, &n)`.
    WriteEx2,
    /// Handshake on an object.
    Handshake,
    /// A new object; it is the result.
    Create,
    /// End of an object.
    Free,
    /// `set_fd(object, fd)`.
    SetFd,
    /// Encryption of one record, on one direction of a connection.
    RecordSeal,
    /// Decryption of one record, on one direction of a connection.
    RecordOpen,
    /// Encryption of one record begins: tells the object to the hook that sees the plaintext.
    RecordOwner,
}

impl HookKind {
    /// The direction of the plaintext that the function moves, if it moves any.
    #[must_use]
    pub fn moves(self) -> Option<Direction> {
        match self {
            Self::ReadReturn | Self::ReadEx | Self::RecordOpen => Some(Direction::Read),
            Self::WriteReturn | Self::WriteEx | Self::WriteEx2 | Self::RecordSeal => {
                Some(Direction::Write)
            }
            Self::Handshake | Self::Create | Self::Free | Self::SetFd | Self::RecordOwner => None,
        }
    }
}

/// Where in a function to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Attach {
    /// At its first instruction.
    Entry,
    /// When it returns.
    Return,
    /// Both.
    Both,
    /// At its first instruction and at these file offsets, each of them a return instruction: for code
    /// whose stack may move, so that the kernel's own return probe would break it.
    EntryAndOffsets(Vec<u64>),
}

/// How sure it is that a hook is the function that it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It is one of a few candidates, all offered: attach to all, some may never fire.
    Candidate,
    /// Found by what it does; every check passed and no other function did.
    Proven,
    /// The file names it.
    Named,
}
