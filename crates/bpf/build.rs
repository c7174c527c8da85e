//! Compiles every `bpf/*.bpf.c`, links them into one object, and generates its skeleton.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::Linker;

/// Tried in this order; `BPF_CLANG` comes first. Any clang from 15 on will do.
const CLANGS: &[&str] = &[
    "clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang-16", "clang-15", "clang",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bpf = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../bpf");
    println!("cargo:rerun-if-env-changed=BPF_CLANG");
    println!("cargo:rerun-if-changed={}", bpf.display());

    let clang = find_clang()?;
    let arch = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => return Err(format!("no kernel programs for the architecture {other}").into()),
    };
    let mut sources: Vec<PathBuf> = std::fs::read_dir(&bpf)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".bpf.c"))
        .collect();
    sources.sort();

    let linked = out.join("agentsight.bpf.o");
    let mut linker = Linker::new(&linked)?;
    for source in &sources {
        let name = source.file_stem().ok_or("a source without a name")?;
        let object = out.join(name).with_extension("o");
        SkeletonBuilder::new()
            .source(source)
            .obj(&object)
            .clang(&clang)
            .clang_args([
                format!("-I{}", bpf.join("include").display()),
                format!("-D__TARGET_ARCH_{arch}"),
                // The oldest supported kernel (5.10) has no newer instructions.
                "-mcpu=v2".into(),
                "-Wall".into(),
                "-Werror".into(),
            ])
            .build()?;
        linker.add_file(&object)?;
    }
    linker.link()?;
    SkeletonBuilder::new()
        .obj(&linked)
        .reference_obj(true)
        .generate(out.join("agentsight.skel.rs"))?;
    println!("cargo:rustc-env=AGENTSIGHT_BPF_OBJECT={}", linked.display());
    Ok(())
}

fn find_clang() -> Result<String, Box<dyn Error>> {
    if let Ok(clang) = env::var("BPF_CLANG") {
        return Ok(clang);
    }
    CLANGS
        .iter()
        .find(|clang| {
            Command::new(clang)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        })
        .map(|clang| (*clang).to_owned())
        .ok_or_else(|| {
            "no clang found to compile the kernel programs; install clang (15 or newer), \
             or run `cargo xtask setup`, or name one in BPF_CLANG"
                .into()
        })
}
