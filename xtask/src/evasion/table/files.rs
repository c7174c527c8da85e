//! Files, and names of files.

use super::{Attack, Is, SYS_EXIT, Sign, made, opened, operation, path};

const URING: &str = "io_uring_submit_req (6.3), io_uring_submit_sqe (6.0 to 6.2)";
const OLD_URING: &str =
    "before 6.0: only that a ring is made, and which requests it takes up is not told";

const fn read(file: &'static [(&'static str, Is)]) -> Sign {
    Sign::Action("file.read", file)
}

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(1, "01_uring_files", "files by io_uring: open, read, rename, remove")
        .by(URING)
        .caught(&[
            Sign::Action("kernel.io_uring", &[operation("io_uring.openat"), path("/at/secret")]),
            Sign::Action("kernel.io_uring", &[operation("io_uring.renameat"), path("/at/renamed")]),
            Sign::Action("kernel.io_uring", &[operation("io_uring.unlinkat"), path("/at/secret2")]),
        ])
        .alarmed(&[Sign::Action("kernel.io_uring", &[operation("io_uring.setup")])])
        .unseen(OLD_URING),
    Attack::new(1, "01_uring_polled", "the same by a thread of the kernel (SQPOLL)")
        .by(URING)
        .caught(&[Sign::Action("kernel.io_uring", &[operation("io_uring.openat"), path("/at/secret")])])
        .alarmed(&[Sign::Action("kernel.io_uring", &[operation("io_uring.setup")])])
        .unseen(OLD_URING),
    Attack::new(3, "03_race_open", "a path rewritten while the kernel works on it")
        .caught(&[
            opened(&[path("/at/fifo")]),
            opened(&[path("/at/secret")]),
        ])
        .alarmed(&[opened(&[path("/at/secret")])]),
    Attack::new(3, "03_race_unlink", "the same with names that are removed")
        .caught(&[Sign::Actions(100, "file.delete", &[("file.path", Is::Has("/at/victim-"))])])
        .alarmed(&[Sign::Action("file.delete", &[("file.path", Is::Has("/at/"))])])
        .by_luck()
    .unseen(
            "that a name was removed or changed is seen, the name itself is what the program passed, read at the \
             call's return: who wins this race has it recorded under a false one",
        ),
    Attack::new(4, "04_symlink", "a symbolic link with a harmless name")
        .caught(&[
            opened(&[path("/at/secret")]),
            Sign::Action("file.link", &[path("/at/harmless")]),
        ]),
    Attack::new(5, "05_proc_root", "/proc/self/root and /proc/self/fd in names of files and programs")
        .by("sys_exit, sched_process_exec")
        .caught(&[
            opened(&[path("/at/secret")]),
            opened(&[path("/at/secret1")]),
            Sign::Action(
                "process.exec",
                &[
                    ("process.executable.path", Is::Ends("/tool")),
                    ("agentsight.process.filename", Is::Has("/proc/self/root")),
                ],
            ),
        ]),
    Attack::new(6, "06_hard_link", "a second, harmless name for the same file")
        .caught(&[
            Sign::Action(
                "file.link",
                &[path("/at/harmless"), ("file.symbolic_link.target_path", Is::Ends("/at/secret"))],
            ),
            opened(&[path("/at/harmless"), ("file.inode", Is::There)]),
        ])
        .unseen("a link that was there before the session shows by its inode number only"),
    Attack::new(7, "07_bind_mount", "a bind mount, by mount and by open_tree and move_mount")
        .caught(&[
            Sign::Action("kernel.namespace", &[operation("unshare")]),
            Sign::Action("kernel.mount", &[operation("mount"), path("/elsewhere")]),
            Sign::Action("kernel.mount", &[operation("open_tree")]),
            Sign::Action("kernel.mount", &[operation("move_mount"), path("/third")]),
            opened(&[path("/elsewhere/secret"), ("file.inode", Is::There)]),
        ])
        .unseen("the file is named by its new path; its inode number tells that it is the old one"),
    Attack::new(7, "07_chroot", "a root of its own")
        .caught(&[
            Sign::Action("kernel.namespace", &[operation("chroot")]),
            opened(&[("file.path", Is::Text("/secret"))]),
        ])
        .unseen("paths are those that the process sees, from its own root on"),
    Attack::new(8, "08_long_path", "names longer than a path may be, with line ends, without UTF-8")
        .caught(&[
            made(&[path("/deep")]),
            made(&[("file.path", Is::Has("/at/two\nlines\u{fffd}"))]),
        ])
        .unseen("of more than 48 folders the outermost are left out, and the path is marked as cut"),
    Attack::new(9, "09_copied_program", "a copy of a program under a harmless name")
        .by("sys_exit, sched_process_exec")
        .caught(&[
            made(&[path("/at/innocent")]),
            read(&[path("/tool")]),
            Sign::Action("process.exec", &[("process.executable.path", Is::Ends("/at/innocent"))]),
        ])
        .unseen("the copy is not recognised by its content: no hash is taken"),
    Attack::new(25, "25_ways_to_open", "O_PATH and again, openat2, creat, open_by_handle_at")
        .caught(&[
            opened(&[path("/at/secret")]),
            opened(&[path("/at/secret1")]),
            opened(&[path("/at/secret2"), ("agentsight.file.access", Is::Text("write"))]),
            read(&[path("/at/secret3"), ("agentsight.bytes", Is::Number(1))]),
        ]),
    Attack::new(26, "26_mapped_file", "a file changed by shared memory").caught(&[Sign::Action(
        "file.mmap",
        &[
            path("/at/secret"),
            ("agentsight.map.shared", Is::Yes),
            ("agentsight.map.write", Is::Yes),
        ],
    )])
    .unseen("which bytes were changed"),
    Attack::new(27, "27_no_read", "sendfile, splice, tee, copy_file_range").caught(&[
        read(&[path("/at/secret"), ("agentsight.bytes", Is::AtLeast(1))]),
        read(&[path("/at/secret1"), ("agentsight.bytes", Is::AtLeast(1))]),
        read(&[path("/at/secret2"), ("agentsight.bytes", Is::AtLeast(1))]),
        Sign::Action("file.write", &[path("/at/copied"), ("agentsight.bytes", Is::AtLeast(1))]),
    ])
    .unseen("bytes that went through an instance of io_uring's splice"),
    Attack::new(28, "28_vectors", "readv, pread, preadv2, pwritev, sendmmsg, recvmmsg").caught(&[
        read(&[path("/at/secret"), ("agentsight.bytes", Is::Number(12))]),
        read(&[path("/at/secret1"), ("agentsight.bytes", Is::Number(8))]),
        read(&[path("/at/secret2"), ("agentsight.bytes", Is::Number(12))]),
        Sign::Action("file.write", &[path("/at/secret3"), ("agentsight.bytes", Is::Number(12))]),
        Sign::Action(
            "ipc.pipe",
            &[("agentsight.channel", Is::Text("unix")), ("agentsight.written_bytes", Is::Number(12))],
        ),
    ]),
    Attack::new(30, "30_other_table", "32-bit system calls of a 64-bit program").caught(&[
        opened(&[path("/at/secret")]),
        read(&[path("/at/secret"), ("agentsight.bytes", Is::Number(4))]),
        Sign::Action("file.delete", &[path("/at/secret1")]),
    ])
    .by(SYS_EXIT)
    .unseen("vectors and messages of 32-bit programs are counted, their content is not looked at"),
];
