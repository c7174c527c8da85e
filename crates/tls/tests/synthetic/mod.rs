//! Small programs made by hand, which hold what a stripped static OpenSSL leaves behind.

#![allow(dead_code, reason = "each test uses a part")]

/// Address that the first byte of the file is loaded at.
pub(crate) const BASE: u64 = 0x40_0000;
const PAGE: usize = 0x1000;
const TEXT_OFFSET: usize = 2 * PAGE;

/// What to put into the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Unwind table for every function.
    pub(crate) unwind: bool,
    /// Section headers.
    pub(crate) sections: bool,
    /// `SSL_read` gives `ssl_read_internal` a place on its stack, as the source does.
    pub(crate) passes_stack: bool,
    /// A second function that reports errors as `SSL_write` does.
    pub(crate) second_write: bool,
    /// Bytes that make no sense before the place where `ssl_read_internal` reports its error.
    pub(crate) garbage: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            unwind: true,
            sections: true,
            passes_stack: true,
            second_write: false,
            garbage: false,
        }
    }
}

/// A program, and where its functions are.
pub(crate) struct Program {
    pub(crate) bytes: Vec<u8>,
    /// File offsets by name.
    pub(crate) functions: Vec<(&'static str, u64)>,
}

impl Program {
    /// File offset of a function.
    pub(crate) fn offset(&self, name: &str) -> u64 {
        self.functions.iter().find(|(n, _)| *n == name).unwrap().1
    }
}

const STRINGS: &[&str] = &[
    "SSL_read",
    "ssl_read_internal",
    "SSL_write",
    "ssl_write_internal",
    "SSL_do_handshake",
    "SSL_set_fd",
    "../ssl/ssl_lib.c",
    "OpenSSL 3.9.1 1 Jan 2026",
];

/// Builds a program.
pub(crate) fn build(recipe: Recipe) -> Program {
    let mut constants = vec![0; PAGE];
    let mut addresses = Vec::new();
    for string in STRINGS {
        addresses.push(BASE + constants.len() as u64);
        constants.extend(string.as_bytes());
        constants.push(0);
    }
    let mut code = Code {
        bytes: Vec::new(),
        functions: Vec::new(),
        strings: addresses,
    };
    write_functions(&mut code, recipe);
    let unwind_at = constants.len().next_multiple_of(4);
    constants.resize(unwind_at, 0);
    if recipe.unwind {
        write_unwind(&mut constants, &code);
    }
    assert!(constants.len() <= TEXT_OFFSET);
    constants.resize(TEXT_OFFSET, 0);
    let mut bytes = constants;
    bytes.extend(&code.bytes);
    let text_bytes = code.bytes.len() as u64;
    let unwind = recipe.unwind.then_some(unwind_at as u64);
    write_headers(&mut bytes, text_bytes, unwind, recipe.sections);
    let functions = code
        .functions
        .iter()
        .map(|(n, at, _)| (*n, (TEXT_OFFSET + at) as u64));
    Program {
        functions: functions.collect(),
        bytes,
    }
}

/// Code under construction.
struct Code {
    bytes: Vec<u8>,
    /// Name, begin and end.
    functions: Vec<(&'static str, usize, usize)>,
    strings: Vec<u64>,
}

impl Code {
    fn address(&self, at: usize) -> u64 {
        BASE + (TEXT_OFFSET + at) as u64
    }

    fn function(&mut self, name: &'static str, body: impl FnOnce(&mut Self)) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(16), 0xcc);
        let start = self.bytes.len();
        body(self);
        let end = self.bytes.len();
        self.functions.push((name, start, end));
    }

    fn start_of(&self, name: &str) -> usize {
        self.functions.iter().find(|(n, ..)| *n == name).unwrap().1
    }

    fn call(&mut self, name: &str) {
        let target = self.start_of(name) as i64;
        let distance = target - (self.bytes.len() as i64 + 5);
        self.bytes.push(0xe8);
        self.bytes.extend((distance as i32).to_le_bytes());
    }

    /// `lea rdx, [rip + string]`
    fn load_string(&mut self, index: usize) {
        let next = self.address(self.bytes.len() + 7);
        let distance = self.strings[index].wrapping_sub(next);
        self.bytes.extend([0x48, 0x8d, 0x15]);
        self.bytes.extend((distance as u32).to_le_bytes());
    }

    /// Reports an error of library 20, under the name of a string.
    fn report(&mut self, name: usize, reason: u32) {
        self.load_string(name);
        self.call("debug");
        self.bytes.extend([0xbf, 20, 0, 0, 0, 0xbe]);
        self.bytes.extend(reason.to_le_bytes());
        self.call("raise");
    }

    fn ret(&mut self) {
        self.bytes.push(0xc3);
    }
}

fn write_functions(code: &mut Code, recipe: Recipe) {
    code.function("debug", Code::ret);
    code.function("raise", Code::ret);
    for (way, [outer, inner]) in [
        ["SSL_read", "ssl_read_internal"],
        ["SSL_write", "ssl_write_internal"],
    ]
    .iter()
    .enumerate()
    {
        code.function(inner, |code| {
            if recipe.garbage && way == 0 {
                code.bytes.extend([0xf4, 0x06]);
            }
            code.report(way * 2 + 1, 276);
            code.ret();
        });
        let write_outer = |code: &mut Code| {
            // sub rsp, 24; lea rcx, [rsp+8] or xor ecx, ecx
            code.bytes.extend([0x48, 0x83, 0xec, 24]);
            let passed: &[u8] = if recipe.passes_stack {
                &[0x48, 0x8d, 0x4c, 0x24, 8]
            } else {
                &[0x31, 0xc9]
            };
            code.bytes.extend(passed);
            code.call(inner);
            code.report(way * 2, 271);
            // add rsp, 24
            code.bytes.extend([0x48, 0x83, 0xc4, 24]);
            code.ret();
        };
        code.function(outer, write_outer);
        if recipe.second_write && way == 1 {
            code.function("SSL_write again", write_outer);
        }
    }
    code.function("SSL_do_handshake", |code| {
        code.report(4, 144);
        code.ret();
    });
    code.function("main", |code| {
        let names: Vec<&'static str> = code.functions.iter().map(|(name, ..)| *name).collect();
        for name in names {
            code.call(name);
        }
        // So that the names of the source and the version are used.
        code.load_string(6);
        code.load_string(7);
        code.ret();
    });
}

/// `.eh_frame_hdr`, and behind it `.eh_frame`: one common record, and one for each function.
fn write_unwind(out: &mut Vec<u8>, code: &Code) {
    let header = out.len();
    let count = code.functions.len();
    let common = header + 12 + count * 8;
    let mut frames = vec![];
    frames.extend(20_u32.to_le_bytes());
    frames.extend(0_u32.to_le_bytes());
    frames.extend([
        1, b'z', b'R', 0, 1, 0x78, 0x10, 1, 0x1b, 0, 0, 0, 0, 0, 0, 0,
    ]);
    let mut table = vec![];
    for (_, start, end) in &code.functions {
        let record = common + frames.len();
        let start_address = code.address(*start);
        frames.extend(16_u32.to_le_bytes());
        frames.extend(((record + 4 - common) as u32).to_le_bytes());
        let field = BASE + (record + 8) as u64;
        frames.extend((start_address.wrapping_sub(field) as u32).to_le_bytes());
        frames.extend(((end - start) as u32).to_le_bytes());
        frames.extend([0; 4]);
        let base = BASE + header as u64;
        table.extend((start_address.wrapping_sub(base) as u32).to_le_bytes());
        table.extend(((record - header) as u32).to_le_bytes());
    }
    out.extend([1, 0x1b, 0x03, 0x3b]);
    out.extend(((common - header - 4) as u32).to_le_bytes());
    out.extend((count as u32).to_le_bytes());
    out.extend(table);
    out.extend(frames);
}

fn write_headers(bytes: &mut Vec<u8>, text_bytes: u64, unwind: Option<u64>, sections: bool) {
    let mut programs = vec![(1_u32, 4_u32, 0_u64, TEXT_OFFSET as u64)];
    programs.push((1, 5, TEXT_OFFSET as u64, text_bytes));
    if let Some(at) = unwind {
        programs.push((0x6474_e550, 4, at, TEXT_OFFSET as u64 - at));
    }
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16] = 3;
    header[18] = 62;
    header[20] = 1;
    header[32] = 64;
    header[52] = 64;
    header[54] = 56;
    header[56] = u8::try_from(programs.len()).unwrap();
    header[58] = 64;
    for (kind, flags, offset, size) in programs {
        header.extend(kind.to_le_bytes());
        header.extend(flags.to_le_bytes());
        for value in [
            offset,
            BASE + offset,
            BASE + offset,
            size,
            size,
            PAGE as u64,
        ] {
            header.extend(value.to_le_bytes());
        }
    }
    if sections {
        write_sections(bytes, &mut header, text_bytes);
    }
    bytes[..header.len()].copy_from_slice(&header);
}

fn write_sections(bytes: &mut Vec<u8>, header: &mut [u8], text_bytes: u64) {
    let names = b"\0.rodata\0.text\0.shstrtab\0";
    let names_at = bytes.len() as u64;
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    header[40..48].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    header[60] = 4;
    header[62] = 3;
    let text = TEXT_OFFSET as u64;
    for (name, kind, address, offset, size) in [
        (0_u32, 0_u32, 0, 0, 0),
        (1, 1, BASE + PAGE as u64, PAGE as u64, PAGE as u64),
        (9, 1, BASE + text, text, text_bytes),
        (15, 3, 0, names_at, names.len() as u64),
    ] {
        bytes.extend(name.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for value in [2_u64, address, offset, size, 0, 1, 0] {
            bytes.extend(value.to_le_bytes());
        }
    }
}
