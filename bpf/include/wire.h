/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The one definition of what crosses from the kernel to user space. The Rust types are generated from
 * the BTF of these structs; crates/wire tests their layout.
 *
 * Rules: fixed-width integers, explicit padding, little surprises. Kinds, classes, reasons and fields
 * are append-only. Every record starts with struct rec_header; `length` counts the whole record,
 * header and trailing bytes included. Trailing bytes follow the fixed part in the order of the length
 * fields that describe them.
 */
#ifndef AGENTSIGHT_WIRE_H
#define AGENTSIGHT_WIRE_H

enum rec_kind {
	EV_NONE = 0,
	EV_PROCESS_FORK = 1,
	EV_PROCESS_EXEC = 2,
	EV_PROCESS_ARGV = 3, /* more of the argument vector of the exec just before, same thread */
	EV_PROCESS_EXIT = 4,
	EV_FILE_OPEN = 5,
	EV_FILE_DELETE = 6,
	EV_FILE_RENAME = 7,
	EV_NETWORK_CONNECT = 8,
	EV_NETWORK_ACCEPT = 9,
	EV_NETWORK_LISTEN = 10,
	EV_NETWORK_CLOSE = 11,
	EV_TLS_DATA = 12,
	EV_TLS_HANDSHAKE = 13,
	EV_TLS_FREE = 14,
	EV_IMAGE_MAPPED = 15, /* executable pages of a file were mapped for the first time */
	EV_TLS_SOCKET = 17, /* a TLS object's socket became known */
	EV_TLS_HELLO = 18, /* the first bytes of a TLS connection, as its client sent them */
	EV_FILE_USE = 16, /* totals of a file use whose entry in file_uses was taken by another */
	EV_CHANNEL_OPEN = 19, /* a process used one end of a channel for the first time */
	EV_CHANNEL_DATA = 20,
	EV_ACT = 21, /* an operation of include/syscalls.h, with what it is about */
	EV_DNS = 22, /* a datagram to or from a name server */
	EV_CANARY = 23, /* the monitor's own sign that it still sees */
};

enum event_class {
	CLASS_PROCESS = 0,
	CLASS_FILE = 1,
	CLASS_NETWORK = 2,
	CLASS_TLS = 3,
	CLASS_STDIO = 4, /* what goes over pipes, unix sockets and terminals */
	CLASS_SECURITY = 5, /* acts on other processes, on names and attributes, on the kernel */
	CLASS_COUNT = 6,
};

enum drop_reason {
	DROP_RING_FULL = 0,
	DROP_MAP_FULL = 1,
	DROP_READ_FAULT = 2,
	DROP_TOO_LONG = 3,
	DROP_FLOOD = 4, /* more of one act of one process than a person could look at */
	DROP_COUNT = 5,
};

enum rec_flags {
	REC_PATH_CUT = 1, /* the path's outermost components are missing */
	REC_ARGV_CUT = 2, /* argv_bytes in the record is less than in the process */
	REC_INHERITED = 4, /* the descriptor's opening was not seen */
	REC_DIRECTORY = 8,
	REC_NEW_IMAGE = 32, /* the executed file has not been announced before */
	REC_DELETED = 64, /* the executed file has no name: memfd, or deleted */
	REC_MORE = 16, /* the record is continued by the next one of its kind on the same stream */
};

enum file_access {
	ACCESS_READ = 1,
	ACCESS_WRITE = 2,
	ACCESS_CREATE = 4,
	ACCESS_TRUNCATE = 8,
};

enum tls_direction {
	TLS_SENT = 0,
	TLS_RECEIVED = 1,
	TLS_HANDSHAKE = 2, /* inside the kernel only */
};

enum wire_limits {
	WIRE_NAME_BYTES = 256, /* longest component of a path, with its NUL */
	WIRE_PATH_BYTES = 4096,
	WIRE_ARGV_INLINE_BYTES = 8192,
	WIRE_ARGV_CHUNK_BYTES = 16384,
	WIRE_TLS_CHUNK_BYTES = 16384,
	WIRE_HELLO_BYTES = 2048,
	WIRE_CHANNEL_CHUNK_BYTES = 16384,
	WIRE_DNS_BYTES = 1536,
	WIRE_TEXT_BYTES = 256,
};

enum channel_kind {
	CHANNEL_PIPE = 0,
	CHANNEL_UNIX = 1,
	CHANNEL_TERMINAL = 2,
};

/* Where plaintext was seen. */
enum tls_layer {
	LAYER_STREAM = 0, /* at an object that stands for a connection */
	LAYER_RECORD = 1, /* at an object that stands for one direction of a connection */
	LAYER_CLEARTEXT = 2, /* at a socket without TLS; the object is the socket */
	LAYER_THREAD = 3, /* at a thread, which writes it to the connection right after */
};

enum socket_flags {
	SOCKET_SNIFFED = 1, /* the first bytes were looked at */
	SOCKET_TLS = 2, /* they were those of TLS, or of QUIC */
	SOCKET_HTTP = 4, /* they were those of HTTP */
	SOCKET_BOUND = 8, /* plaintext of this socket is seen at some object */
};

struct rec_header {
	__u16 kind; /* enum rec_kind */
	__u16 cpu;
	__u32 length; /* bytes of the whole record */
	__u64 ktime_ns; /* boot clock */
	__u64 sequence; /* per CPU and class, without gaps while nothing is lost */
	__u64 start_ns; /* boot clock; with tgid names the process */
	__u32 tgid; /* initial pid namespace */
	__u32 tid;
	__u32 label; /* of the watched tree */
	__u8 class; /* enum event_class */
	__u8 flags; /* enum rec_flags */
	__u16 reserved;
};

/*
 * A path travels as its components from the last to the first, each ended by NUL, because that is the
 * order in which the kernel's structures are walked; user space turns it round.
 */
struct file_id {
	__u64 ino;
	__u32 dev; /* kernel encoding: major << 20 | minor */
	__u32 mode; /* st_mode */
};

struct process_fork_rec {
	struct rec_header header;
	__u64 child_start_ns;
	__u32 child_tgid;
	__u32 reserved;
	char comm[16];
};

struct process_exec_rec {
	struct rec_header header;
	__u64 parent_start_ns;
	__u32 parent_tgid;
	__u32 uid;
	__u32 gid;
	__u32 reserved;
	__u64 cgroup;
	struct file_id exe;
	__u32 exe_bytes; /* path */
	__u32 cwd_bytes; /* path */
	__u32 filename_bytes; /* with its NUL */
	__u32 interp_bytes; /* with its NUL */
	__u32 argv_bytes; /* in this record; NUL-separated */
	__u32 argv_total_bytes; /* in the process; the rest follows in EV_PROCESS_ARGV */
};

struct process_argv_rec {
	struct rec_header header;
	__u32 offset; /* into the argument vector */
	__u32 bytes;
};

struct process_exit_rec {
	struct rec_header header;
	__u32 status; /* as for wait(2) */
	__u32 reserved;
	__u64 user_ns;
	__u64 system_ns;
	__u64 max_rss_pages;
	__u64 storage_read_bytes;
	__u64 storage_write_bytes;
};

struct file_open_rec {
	struct rec_header header;
	__u64 use_id;
	struct file_id file;
	__u32 access; /* enum file_access */
	__u32 path_bytes;
};

struct file_use {
	__u64 use_id; /* first use, boot clock */
	__u64 start_ns; /* of the process */
	__u64 ino;
	__u64 last_ns;
	__u64 opens;
	__u64 creates;
	__u64 reads;
	__u64 read_bytes;
	__u64 writes;
	__u64 written_bytes;
	__u32 access;
	__u32 label;
};

struct file_use_rec {
	struct rec_header header;
	struct file_use totals;
};

/* A name as the program gave it, with the directory it is relative to (empty if it is absolute). */
struct name_ref {
	__u32 base_bytes; /* path of the directory */
	__u32 name_bytes; /* with its NUL */
};

struct file_delete_rec {
	struct rec_header header;
	struct name_ref name;
};

struct file_rename_rec {
	struct rec_header header;
	struct name_ref from;
	struct name_ref to;
};

struct socket_address {
	__u8 bytes[16]; /* IPv4: the first four */
	__u16 port; /* host order */
	__u16 family; /* AF_INET or AF_INET6; 0 if unknown */
};

struct network_rec {
	struct rec_header header;
	__u64 socket;
	struct socket_address local;
	struct socket_address remote;
	__u64 sent_bytes; /* EV_NETWORK_CLOSE */
	__u64 received_bytes; /* EV_NETWORK_CLOSE */
	__u32 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u32 reserved;
};

struct tls_data_rec {
	struct rec_header header;
	__u64 object; /* address of the TLS object in the process */
	__u64 offset; /* of the first byte in its stream and direction, from 0 */
	__u64 socket; /* that carries it; 0 if not known yet */
	__u32 bytes;
	__u8 direction; /* enum tls_direction */
	__u8 layer; /* enum tls_layer */
	__u8 reserved[2];
};

struct tls_socket_rec {
	struct rec_header header;
	__u64 object;
	__u64 socket;
};

struct tls_hello_rec {
	struct rec_header header;
	__u64 socket;
	__u32 bytes; /* that follow: the beginning of a TLS record */
	__u32 reserved;
};

struct tls_object_rec {
	struct rec_header header;
	__u64 object;
	__s32 result; /* EV_TLS_HANDSHAKE: what the function returned */
	__u32 reserved;
};

/*
 * Each way through a terminal is a flow of its own, as if it were a pipe: its number is the terminal's,
 * twice, and one more for what its controlling side writes.
 */
struct channel_open_rec {
	struct rec_header header;
	__u64 use_id; /* 0: not counted in file_uses */
	__u64 ino;
	__u64 peer_ino; /* of a unix socket; 0 if it has none */
	__u32 access; /* enum file_access */
	__u32 channel; /* enum channel_kind */
	__u32 path_bytes;
	__u32 reserved;
};

struct channel_data_rec {
	struct rec_header header;
	__u64 ino;
	__u64 peer_ino;
	__u64 began_ns; /* of the flow, as numbers are used again */
	__u64 offset; /* of the first byte in its flow */
	__u32 bytes;
	__u8 channel; /* enum channel_kind */
	__u8 received; /* whether they were captured at the reader */
	__u8 reserved[2];
};

/*
 * An act. What trails it: the path of the file behind a descriptor, two names as the program gave them, and a
 * short text, each of which may be empty.
 */
struct act_rec {
	struct rec_header header;
	__u32 operation; /* enum operation */
	__s32 error; /* errno, or 0 */
	__u64 arguments[4]; /* of the call; for some operations what the kernel knows better */
	struct file_id file; /* of the path */
	struct name_ref name;
	struct name_ref other;
	__u32 path_bytes;
	__u32 text_bytes; /* with its NUL */
};

struct dns_rec {
	struct rec_header header;
	struct socket_address server;
	__u32 bytes;
	__u32 received;
	__u32 reserved;
};

struct canary_rec {
	struct rec_header header;
	__u64 number;
};

/*
 * Where an operation has what it is about: numbers of arguments from 1 on, 0 for none. Filled by user space.
 */
struct act_shape {
	__u8 fd; /* a descriptor whose file it is about */
	__u8 directory; /* the descriptor that `name` is relative to */
	__u8 name;
	__u8 other_directory;
	__u8 other;
	__u8 text;
	__u8 failed_too; /* an attempt counts */
	__u8 reserved;
};

enum act_argument {
	ARGUMENT_RESULT = 7, /* what the call returned */
};

/* What user space thinks of a flow. */
enum channel_verdict {
	VERDICT_NONE = 0,
	VERDICT_CAPTURE = 1, /* all of it */
	VERDICT_IGNORE = 2, /* nothing more of it */
};

struct channel_key {
	__u64 ino;
	__u32 channel; /* enum channel_kind */
	__u32 received; /* by the socket `ino`, whose peer is not known */
};

struct image_mapped_rec {
	struct rec_header header;
	struct file_id file;
	__u32 path_bytes;
	__u32 reserved;
};

enum image_news {
	IMAGE_WRITTEN = 0, /* opened for writing */
	IMAGE_STARTED = 1,
	IMAGE_NAMED = 2, /* made executable; of its file only the name is known */
};

/* News of a program or library; no record, as it comes by a ring of its own. */
struct image_item {
	struct file_id file;
	__u32 tgid;
	__u32 what; /* enum image_news */
	__u32 path_bytes; /* behind it, as in other records; 0 if it is too long or not needed */
	__u32 name_bytes; /* behind that, with its NUL: relative to the path, if there is one */
};

/* Values of maps that user space reads. */

struct file_use_key {
	__u64 dentry;
	__u64 mount;
	__u32 tgid;
	__u32 reserved;
};

struct socket_use {
	__u64 start_ns;
	__u64 first_ns;
	__u64 last_ns;
	__u64 sent_bytes;
	__u64 received_bytes;
	struct socket_address local;
	struct socket_address remote;
	__u32 tgid;
	__u32 label;
	__u32 protocol;
	__u32 flags; /* enum socket_flags */
};

struct scope {
	__u64 start_ns;
	__u32 label;
	__u32 reserved;
};

/* What the task iterator writes, one a process. */
struct process_item {
	__u64 start_ns;
	__u64 parent_start_ns;
	__u32 tgid;
	__u32 parent_tgid;
};

/*
 * How to get at what a probed function moves, where it is not one of the OpenSSL family: filled by user
 * space, one entry a hook, found by the probe's cookie.
 */
enum operand_base {
	BASE_NONE = 0,
	BASE_ARGUMENT = 1, /* of the C calling convention, from 0; at entry */
	BASE_GO_ARGUMENT = 2, /* integer register of Go's calling convention, from 0; at entry */
	BASE_GO_RESULT = 3, /* the same, at return */
	BASE_GOROUTINE = 4,
	BASE_THREAD = 5,
	BASE_STACK = 6, /* stack pointer at entry */
	BASE_RETURN = 7,
	BASE_OWNER =
		8, /* the object of the HOOK_OWNER call that the thread made last; else the thread */
};

struct tls_operand {
	__s32 offsets[2]; /* of the loads */
	__u8 base; /* enum operand_base */
	__u8 index;
	__u8 loads; /* 64-bit loads from the base on: 0 to 2 */
	__u8 late_loads; /* how many of them, the last ones, happen at return */
};

enum hook_success {
	SUCCESS_ALWAYS = 0,
	SUCCESS_POSITIVE = 1, /* 32 bits */
	SUCCESS_POSITIVE_64 = 2,
	SUCCESS_ONE = 3,
	SUCCESS_ZERO = 4,
};

enum hook_flags {
	HOOK_INNER_TYPE = 1, /* the tail's first byte is the content type of a TLS 1.3 record */
	HOOK_ONLY_CREATED = 2, /* only objects that a HOOK_CREATES hook saw */
	HOOK_CREATES = 4, /* the call makes a TLS object */
	HOOK_ENDS = 8, /* the call ends one */
	HOOK_AT_ENTRY = 16, /* everything is there at entry */
	HOOK_OWNER = 32, /* the call moves nothing, but tells whose the next BASE_OWNER is */
	HOOK_KEEPS =
		64, /* what would block is kept, to be sent by a call without a buffer: GnuTLS */
};

struct tls_hook {
	struct tls_operand object;
	struct tls_operand call; /* what entry and return have in common */
	struct tls_operand buffer;
	struct tls_operand length;
	struct tls_operand moved; /* BASE_NONE: length is */
	struct tls_operand skip_head;
	struct tls_operand associated_data;
	struct tls_operand associated_data_bytes;
	struct tls_operand sequence; /* of the record in its direction, from 0 */
	__u8 direction; /* enum tls_direction */
	__u8 layer; /* enum tls_layer */
	__u8 success; /* enum hook_success */
	__u8 skip_tail_bytes;
	__u32 flags; /* enum hook_flags */
};

/* Per CPU and class. produced = emitted + sum of dropped. */
struct class_stats {
	__u64 produced;
	__u64 dropped[DROP_COUNT];
};

_Static_assert(sizeof(struct rec_header) == 48, "rec_header is part of the wire format");
_Static_assert(sizeof(struct process_exec_rec) % 8 == 0, "no hidden tail padding");
_Static_assert(sizeof(struct network_rec) % 8 == 0, "no hidden tail padding");
_Static_assert(sizeof(struct tls_data_rec) == 80, "tls_data_rec is part of the wire format");

#endif
