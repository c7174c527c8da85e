//! The Rust mirror of the wire records is what the BTF of the kernel programs says.
//!
//! `cargo xtask gen` runs this with `AGENTSIGHT_WRITE_GENERATED=1`, which writes the file instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use libbpf_rs::btf::types::{Array, Enum, Int, IntEncoding, MemberAttr, Struct};
use libbpf_rs::btf::{Btf, BtfType, HasSize};

const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/src/generated.rs");
const HEAD: &str = "\
// Generated from the BTF of the kernel programs (bpf/include/wire.h) by `cargo xtask gen`.
#![allow(non_camel_case_types)]

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
";

#[test]
fn wire_types_match_the_kernel_programs() {
    let btf = Btf::from_path(agentsight_bpf::OBJECT_PATH).expect("the object has BTF");
    let generated = generate(&btf);
    if std::env::var_os("AGENTSIGHT_WRITE_GENERATED").is_some() {
        std::fs::write(TARGET, &generated).unwrap();
    }
    let present = std::fs::read_to_string(Path::new(TARGET)).unwrap();
    assert!(
        present == generated,
        "crates/wire/src/generated.rs is out of date: run `cargo xtask gen`"
    );
}

fn generate(btf: &Btf<'_>) -> String {
    let root: Struct<'_> = btf
        .type_by_name("wire_types")
        .expect("wire.bpf.c defines struct wire_types");
    let mut output = HEAD.to_owned();
    let mut done = BTreeSet::new();
    for member in root.iter() {
        let ty = resolve(btf, member.ty);
        emit(btf, ty, &mut done, &mut output);
    }
    output
}

fn resolve<'b>(btf: &'b Btf<'_>, id: libbpf_rs::btf::TypeId) -> BtfType<'b> {
    btf.type_by_id::<BtfType<'_>>(id)
        .expect("types refer to types that exist")
        .skip_mods_and_typedefs()
}

fn name_of(ty: &BtfType<'_>) -> String {
    ty.name()
        .expect("wire types have names")
        .to_string_lossy()
        .into_owned()
}

fn emit(btf: &Btf<'_>, ty: BtfType<'_>, done: &mut BTreeSet<String>, output: &mut String) {
    if let Ok(choice) = Enum::try_from(ty) {
        emit_enum(&choice, &name_of(&ty), done, output);
    } else if let Ok(record) = Struct::try_from(ty) {
        emit_struct(btf, &record, &name_of(&ty), done, output);
    }
}

fn emit_enum(choice: &Enum<'_>, name: &str, done: &mut BTreeSet<String>, output: &mut String) {
    if !done.insert(name.to_owned()) {
        return;
    }
    writeln!(output, "\n// enum {name}").unwrap();
    for member in choice.iter() {
        let member_name = member.name.unwrap().to_string_lossy();
        writeln!(output, "pub const {member_name}: u32 = {};", member.value).unwrap();
    }
}

fn emit_struct(
    btf: &Btf<'_>,
    record: &Struct<'_>,
    name: &str,
    done: &mut BTreeSet<String>,
    output: &mut String,
) {
    if !done.insert(name.to_owned()) {
        return;
    }
    let mut body = String::new();
    let mut asserts = String::new();
    for member in record.iter() {
        let ty = resolve(btf, member.ty);
        emit(btf, innermost(btf, ty), done, output);
        let member_name = member.name.unwrap().to_string_lossy();
        writeln!(body, "    pub {member_name}: {},", rust_type(btf, ty)).unwrap();
        let MemberAttr::Normal { offset } = member.attr else {
            panic!("{name}.{member_name} is a bit field");
        };
        writeln!(
            asserts,
            "const _: () = assert!(offset_of!({name}, {member_name}) == {});",
            offset / 8
        )
        .unwrap();
    }
    write!(
        output,
        "\n#[repr(C)]\n#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]\n\
         pub struct {name} {{\n{body}}}\n\
         const _: () = assert!(size_of::<{name}>() == {});\n{asserts}",
        record.size()
    )
    .unwrap();
}

fn innermost<'b>(btf: &'b Btf<'_>, ty: BtfType<'b>) -> BtfType<'b> {
    match Array::try_from(ty) {
        Ok(array) => innermost(btf, resolve(btf, array.ty())),
        Err(ty) => ty,
    }
}

fn rust_type(btf: &Btf<'_>, ty: BtfType<'_>) -> String {
    if let Ok(int) = Int::try_from(ty) {
        let sign = match int.encoding {
            IntEncoding::Signed => "i",
            _ => "u",
        };
        // `char` is a byte here, whatever its sign.
        return match int.bits {
            8 => "u8".to_owned(),
            bits => format!("{sign}{bits}"),
        };
    }
    if let Ok(array) = Array::try_from(ty) {
        let item = rust_type(btf, resolve(btf, array.ty()));
        return format!("[{item}; {}]", array.capacity());
    }
    if Enum::try_from(ty).is_ok() {
        return "u32".to_owned();
    }
    name_of(&ty)
}
