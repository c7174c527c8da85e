// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* TCP by its state changes and its end. */
#include "network.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The states of a socket that this side has closed: first, or after the other one. */
#define TCP_FIN_WAIT1 4
#define TCP_LAST_ACK 9

/*
 * The end of a socket, and not the state CLOSE: a socket whose other side closed first may reach that
 * state while the process has yet to read what came before. Runs in any context, so the owner comes from
 * the socket's entry.
 */
static __always_inline void socket_destroyed(struct sock *sk)
{
	u64 key = (u64)sk;
	struct socket_use *use = bpf_map_lookup_elem(&socket_uses, &key);

	if (!use)
		return;
	if (use->remote.port) /* not one that only listened */
		emit_socket(EV_NETWORK_CLOSE, key, use, 0);
	bpf_map_delete_elem(&socket_uses, &key);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(network_tcp_destroy_sock, struct sock *sk)
{
	program_begins();
	socket_destroyed(sk);
	program_ends();
	return 0;
}

/* SYN_SENT and LISTEN are entered in the context of the task that asks for it. */
static __always_inline void socket_state_set(const struct sock *sk, int new_state)
{
	u64 key = (u64)sk;
	struct socket_use *use;
	struct actor actor = {};
	u64 pid_tgid;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return;

	if (new_state == TCP_ESTABLISHED) {
		/* The local port is chosen after SYN_SENT. */
		use = bpf_map_lookup_elem(&socket_uses, &key);
		if (use)
			local_address(&use->local, sk);
		return;
	}
	if (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK) {
		/*
		 * This side has closed. The socket lives on until the other one has answered, while the
		 * memory of its TLS objects may serve the next connection already: it is theirs no more.
		 */
		use = bpf_map_lookup_elem(&socket_uses, &key);
		if (use)
			use->flags &= ~SOCKET_BOUND;
		return;
	}
	if (new_state != TCP_SYN_SENT && new_state != TCP_LISTEN)
		return;

	pid_tgid = bpf_get_current_pid_tgid();
	actor.tgid = pid_tgid >> 32;
	actor.tid = (u32)pid_tgid;
	actor.scope = scope_of(actor.tgid);
	if (!actor.scope)
		return;
	socket_began(new_state == TCP_LISTEN ? EV_NETWORK_LISTEN : EV_NETWORK_CONNECT, &actor, sk,
		     IPPROTO_TCP, NULL);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(network_inet_sock_set_state, const struct sock *sk, int old_state, int new_state)
{
	program_begins();
	socket_state_set(sk, new_state);
	program_ends();
	return 0;
}
