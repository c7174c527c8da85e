/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sockets. TCP is followed by its state changes, which no system call can avoid; bytes are counted at
 * the calls that move them. Each socket of a watched process has an entry in `socket_uses`.
 */
#ifndef AGENTSIGHT_NETWORK_H
#define AGENTSIGHT_NETWORK_H

#include <bpf/bpf_endian.h>
#include "file.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SOCK_DGRAM 2
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_LISTEN 10

static __always_inline void emit_network(void *record, u32 length)
{
	if (bpf_ringbuf_output(&network_ring, record, length,
			       lazy_wakeup(&network_ring, 4 * 1024 * 1024)))
		count_refused(CLASS_NETWORK);
}

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
	struct network_rec rec = {};

	fill_header(&rec.header, kind, CLASS_NETWORK, sizeof(rec), &owner, use->tgid, tid);
	rec.socket = socket;
	rec.local = use->local;
	rec.remote = use->remote;
	rec.sent_bytes = use->sent_bytes;
	rec.received_bytes = use->received_bytes;
	rec.protocol = use->protocol;
	emit_network(&rec, sizeof(rec));
}

/* Makes the socket's entry with the actor as its owner, and sends the record that announces it. */
static __always_inline struct socket_use *socket_began(u16 kind, const struct actor *actor,
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

static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk);
}

static __always_inline void socket_transferred(const struct actor *actor, struct file *file,
					       bool sent, u64 bytes, const void *to)
{
	struct sock *sk = sock_of_file(file);
	u64 key = (u64)sk;
	struct socket_use *use;

	if (!sk || !is_inet(sk))
		return;
	use = bpf_map_lookup_elem(&socket_uses, &key);
	if (!use) {
		struct socket_address remote = {};
		u32 protocol = BPF_CORE_READ(sk, sk_protocol);
		u16 family = 0;

		if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP)
			return;
		remote_address(&remote, sk);
		/* An unconnected UDP socket: the address comes with the call. */
		if (to && !remote.port && !bpf_probe_read_user(&family, 2, to)) {
			u16 port = 0;

			bpf_probe_read_user(&port, 2, to + 2);
			remote.port = bpf_ntohs(port);
			remote.family = family;
			if (family == AF_INET)
				bpf_probe_read_user(remote.bytes, 4, to + 4);
			else if (family == AF_INET6)
				bpf_probe_read_user(remote.bytes, 16, to + 8);
		}
		use = socket_began(EV_NETWORK_CONNECT, actor, sk, protocol, &remote);
		if (!use)
			return;
	}
	if (sent)
		__sync_fetch_and_add(&use->sent_bytes, bytes);
	else
		__sync_fetch_and_add(&use->received_bytes, bytes);
	use->last_ns = bpf_ktime_get_boot_ns();
}

static __always_inline void socket_connected(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(actor->task, fd);
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

static __always_inline void socket_accepted(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(actor->task, fd);
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
