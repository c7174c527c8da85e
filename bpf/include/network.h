/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sockets. TCP is followed by its state changes, which no system call can avoid; bytes are counted at
 * the calls that move them. Each socket of a watched process has an entry in `socket_uses`.
 */
#ifndef AGENTSIGHT_NETWORK_H
#define AGENTSIGHT_NETWORK_H

#include <bpf/bpf_endian.h>
#include "data.h"
#include "file.h"
#include "tls.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SOCK_DGRAM 2
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_LISTEN 10

static __always_inline void local_address(struct socket_address *to, const struct sock *sk)
{
	to->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	to->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (to->family == AF_INET6)
		BPF_CORE_READ_INTO(&to->bytes, sk, __sk_common.skc_v6_rcv_saddr);
	else
		*(u32 *)to->bytes = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
}

static __always_inline void remote_address(struct socket_address *to, const struct sock *sk)
{
	to->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	to->port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (to->family == AF_INET6)
		BPF_CORE_READ_INTO(&to->bytes, sk, __sk_common.skc_v6_daddr);
	else
		*(u32 *)to->bytes = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

static __always_inline bool is_inet(const struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

static __always_inline void emit_socket(u16 kind, u64 socket, const struct socket_use *use, u32 tid)
{
	struct scope owner = { .start_ns = use->start_ns, .label = use->label };
	/* VERIFIER: the stack, of 512 bytes for all functions that are active, has no room for it. */
	struct network_rec *rec = bpf_ringbuf_reserve(&network_ring, sizeof(*rec), 0);

	if (!rec) {
		count_drop(CLASS_NETWORK, DROP_RING_FULL);
		return;
	}
	fill_header(&rec->header, kind, CLASS_NETWORK, sizeof(*rec), &owner, use->tgid, tid);
	rec->socket = socket;
	rec->local = use->local;
	rec->remote = use->remote;
	rec->sent_bytes = use->sent_bytes;
	rec->received_bytes = use->received_bytes;
	rec->protocol = use->protocol;
	rec->reserved = 0;
	bpf_ringbuf_submit(rec, lazy_wakeup(&network_ring));
}

/*
 * Makes the socket's entry with the actor as its owner, and sends the record that announces it.
 * VERIFIER: not inlined, as the entry takes much of the stack, and this needs no more of it.
 */
static __noinline struct socket_use *socket_began(u16 kind, const struct actor *actor,
						  const struct sock *sk, u32 protocol,
						  const struct socket_address *remote)
{
	u64 key = (u64)sk;
	struct socket_use use = {};

	use.start_ns = actor->scope->start_ns;
	use.label = actor->scope->label;
	use.tgid = actor->tgid;
	use.protocol = protocol;
	use.first_ns = bpf_ktime_get_boot_ns();
	use.last_ns = use.first_ns;
	local_address(&use.local, sk);
	if (remote)
		use.remote = *remote;
	else
		remote_address(&use.remote, sk);
	emit_socket(kind, key, &use, actor->tid);
	if (bpf_map_update_elem(&socket_uses, &key, &use, BPF_ANY)) {
		count_drop(CLASS_NETWORK, DROP_MAP_FULL);
		return NULL;
	}
	return bpf_map_lookup_elem(&socket_uses, &key);
}

/* Whether the bytes are the beginning of a TLS record (RFC 8446, section 5.1). */
static __always_inline bool is_tls(u64 first)
{
	u8 type = first, version = first >> 8;

	return type >= 0x14 && type <= 0x17 && version == 3;
}

/* Whether a datagram is the beginning of a QUIC connection (RFC 9000 section 17.2.2, RFC 9369). */
static __always_inline bool is_quic(u64 first, u64 bytes)
{
	u32 version = bpf_ntohl((u32)(first >> 8));

	return (first & 0xc0) == 0xc0 && bytes >= 1200 && (version == 1 || version == 0x6b3343cf);
}

/* Whether the bytes are the beginning of an HTTP request or response, or of HTTP/2. */
static __always_inline bool is_http(u64 first)
{
	switch ((u32)first) {
	case WORD('G', 'E', 'T', ' '):
	case WORD('P', 'O', 'S', 'T'):
	case WORD('P', 'U', 'T', ' '):
	case WORD('P', 'A', 'T', 'C'):
	case WORD('D', 'E', 'L', 'E'):
	case WORD('H', 'E', 'A', 'D'):
	case WORD('O', 'P', 'T', 'I'):
	case WORD('C', 'O', 'N', 'N'):
	case WORD('P', 'R', 'I', ' '):
	case WORD('H', 'T', 'T', 'P'):
		return true;
	}
	return false;
}

static __always_inline void emit_hello(const struct actor *actor, u64 socket,
				       const struct user_data *data, u64 bytes)
{
	struct user_vector piece = first_piece(data, bytes);
	struct scratch *s = scratch();
	struct tls_hello_rec *rec;
	u32 length;

	if (!s)
		return;
	length = piece.bytes;
	if (length > WIRE_HELLO_BYTES)
		length = WIRE_HELLO_BYTES;
	barrier_var(length);
	if (length > WIRE_HELLO_BYTES)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_TLS_HELLO, CLASS_TLS, sizeof(*rec) + length, actor->scope,
		    actor->tgid, actor->tid);
	rec->socket = socket;
	rec->bytes = length;
	rec->reserved = 0;
	if (bpf_probe_read_user(&s->bytes[sizeof(*rec)], length, (void *)piece.base) ||
	    bpf_ringbuf_output(&tls_ring, rec, sizeof(*rec) + length, BPF_RB_NO_WAKEUP))
		count_refused(CLASS_TLS);
}

/*
 * Captures what the vectors at `address` hold.
 * VERIFIER: apart, so that the loop is checked once. `count_bytes` as packed by vectors_of().
 */
__weak __noinline int capture_vectors(u64 socket, u64 address, u64 count_bytes, u32 how)
{
	u64 left = count_bytes & BYTES_MASK, count = count_bytes >> COUNT_SHIFT;
	u32 i;

	for (i = 0; i < MAX_VECTORS; i++) {
		struct user_vector vector = {};

		if (!left || i >= count)
			return 0;
		bpf_probe_read_user(&vector, sizeof(vector), (void *)address + i * sizeof(vector));
		if (vector.bytes > left)
			vector.bytes = left;
		if (vector.bytes)
			capture(socket, vector.base, vector.bytes, how);
		left -= vector.bytes;
	}
	if (left)
		count_drop(CLASS_TLS, DROP_TOO_LONG);
	return 0;
}

static __always_inline void capture_cleartext(u64 socket, const struct transfer *moved)
{
	u32 how = HOW(moved->write ? TLS_SENT : TLS_RECEIVED, LAYER_CLEARTEXT);
	const struct user_data *data = &moved->data;

	if (data->form == DATA_FLAT)
		capture(socket, data->address, moved->bytes, how);
	else
		capture_vectors(socket, data->address, vectors_of(data, moved->bytes), how);
}

/*
 * Looks at the first bytes that the transfer moves over a socket. Returns whether all of them are wanted.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline int is_wanted(u64 socket)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor own = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid }, *actor = &own;
	struct socket_use *use = bpf_map_lookup_elem(&socket_uses, &socket);
	struct transfer *moved = this_transfer();
	bool datagrams, sent, opening;
	struct user_data *data;
	u64 bytes;

	own.scope = scope_of(own.tgid);
	if (!own.scope || !use || !moved)
		return 0;
	data = &moved->data;
	sent = moved->write;
	bytes = moved->bytes;
	datagrams = use->protocol == IPPROTO_UDP;
	if (data->form == DATA_NONE)
		return 0;
	opening = !(use->flags & SOCKET_SNIFFED);
	if (opening) {
		u64 first = first_bytes(data);

		use->flags |= SOCKET_SNIFFED;
		if (datagrams ? is_quic(first, bytes) : is_tls(first)) {
			use->flags |= SOCKET_TLS;
			emit_hello(actor, socket, data, bytes);
		} else if (!datagrams && is_http(first)) {
			use->flags |= SOCKET_HTTP;
		}
	}
	if (datagrams)
		return 0;
	if (use->flags & SOCKET_TLS)
		note_tls_socket(socket, sent, opening, actor->scope, actor->tgid, actor->tid);
	return !(use->flags & SOCKET_TLS) && use->flags & SOCKET_HTTP;
}

static __always_inline void destination(struct socket_address *remote, u64 to)
{
	u16 family = 0, port = 0;

	if (bpf_probe_read_user(&family, 2, (void *)to))
		return;
	bpf_probe_read_user(&port, 2, (void *)to + 2);
	remote->port = bpf_ntohs(port);
	remote->family = family;
	if (family == AF_INET)
		bpf_probe_read_user(remote->bytes, 4, (void *)to + 4);
	else if (family == AF_INET6)
		bpf_probe_read_user(remote->bytes, 16, (void *)to + 8);
}

#define PORT_DNS 53

/* A question to a name server, or its answer. */
static __always_inline void emit_dns(const struct actor *actor, const struct socket_address *server,
				     const struct user_data *data, bool sent, u64 bytes)
{
	struct user_vector piece = first_piece(data, bytes);
	struct scratch *s = scratch();
	struct dns_rec *rec;
	u32 length;

	if (!s)
		return;
	length = piece.bytes;
	if (length > WIRE_DNS_BYTES)
		length = WIRE_DNS_BYTES;
	barrier_var(length);
	if (length > WIRE_DNS_BYTES)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_DNS, CLASS_NETWORK, sizeof(*rec) + length, actor->scope,
		    actor->tgid, actor->tid);
	rec->server = *server;
	rec->bytes = length;
	rec->received = !sent;
	rec->reserved = 0;
	if (bpf_probe_read_user(&s->bytes[sizeof(*rec)], length, (void *)piece.base) ||
	    bpf_ringbuf_output(&network_ring, rec, sizeof(*rec) + length, BPF_RB_NO_WAKEUP))
		count_refused(CLASS_NETWORK);
}

/* A datagram with an address of its own: each new one that is sent to is told. */
static __always_inline void datagram_addressed(const struct actor *actor, u64 key,
					       struct socket_use *use, const struct user_data *data,
					       bool sent)
{
	struct socket_address to = {};

	destination(&to, data->to);
	if (!to.port || (to.family != AF_INET && to.family != AF_INET6))
		return;
	if (to.port == use->remote.port && !__builtin_memcmp(to.bytes, use->remote.bytes, 16))
		return;
	use->remote = to;
	if (sent)
		emit_socket(EV_NETWORK_CONNECT, key, use, actor->tid);
}

/*
 * The transfer moved bytes of a socket; returns its address if they are to be looked into.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline u64 socket_transferred(void)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor own = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid }, *actor = &own;
	struct transfer *moved = this_transfer();
	struct user_data *data;
	struct socket_use *use;
	struct sock *sk;
	u32 protocol;
	u64 key, bytes;
	bool sent;

	own.scope = scope_of(own.tgid);
	if (!own.scope || !moved)
		return 0;
	sk = sock_of_file((void *)moved->file);
	if (!sk || !is_inet(sk))
		return 0;
	key = (u64)sk;
	data = &moved->data;
	sent = moved->write;
	bytes = moved->bytes;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP)
		return 0;
	unfold_message(data);
	use = bpf_map_lookup_elem(&socket_uses, &key);
	if (!use) {
		struct socket_address remote = {};

		remote_address(&remote, sk);
		/* An unconnected UDP socket: the address comes with the call. */
		if (sent && data->to && !remote.port)
			destination(&remote, data->to);
		use = socket_began(EV_NETWORK_CONNECT, actor, sk, protocol, &remote);
		if (!use)
			return 0;
	}
	if (sent)
		__sync_fetch_and_add(&use->sent_bytes, bytes);
	else
		__sync_fetch_and_add(&use->received_bytes, bytes);
	use->last_ns = bpf_ktime_get_boot_ns();
	if (protocol == IPPROTO_UDP && data->to)
		datagram_addressed(actor, key, use, data, sent);
	if (protocol == IPPROTO_UDP && use->remote.port == PORT_DNS) {
		if (data->form != DATA_NONE)
			emit_dns(actor, &use->remote, data, sent, bytes);
		return 0;
	}
	return key;
}

static __always_inline void socket_connected(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct socket_use *use;
	struct sock *sk;
	u64 key;

	if (!file)
		return;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	sk = sock_of_file(file);
	/* TCP speaks for itself, by its state. */
	if (!sk || !is_inet(sk) || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return;
	key = (u64)sk;
	use = bpf_map_lookup_elem(&socket_uses, &key);
	if (!use)
		socket_began(EV_NETWORK_CONNECT, actor, sk, IPPROTO_UDP, NULL);
}

/* A socket got an address. Of those that others can reach, TCP's listen; UDP's are ready at once. */
static __always_inline void socket_named(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct socket_address none = {};
	struct sock *sk;
	u64 key;

	if (!file)
		return;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	sk = sock_of_file(file);
	if (!sk || !is_inet(sk) || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP ||
	    !BPF_CORE_READ(sk, __sk_common.skc_num))
		return;
	key = (u64)sk;
	if (!bpf_map_lookup_elem(&socket_uses, &key))
		socket_began(EV_NETWORK_LISTEN, actor, sk, IPPROTO_UDP, &none);
}

static __always_inline void socket_accepted(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct sock *sk;

	if (!file)
		return;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	sk = sock_of_file(file);
	if (sk && is_inet(sk))
		socket_began(EV_NETWORK_ACCEPT, actor, sk, IPPROTO_TCP, NULL);
}

#endif
