// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Holds one instance of every wire type, so that all of them are in the object's BTF, from which the
 * Rust types are generated. Holds no program.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include "wire.h"
#include "syscalls.h"

struct wire_types {
	enum rec_kind rec_kind;
	enum event_class event_class;
	enum drop_reason drop_reason;
	enum rec_flags rec_flags;
	enum file_access file_access;
	enum tls_direction tls_direction;
	enum tls_layer tls_layer;
	enum socket_flags socket_flags;
	enum operand_base operand_base;
	enum hook_success hook_success;
	enum hook_flags hook_flags;
	enum wire_limits wire_limits;
	enum image_news image_news;
	enum channel_kind channel_kind;
	enum channel_verdict channel_verdict;
	enum operation operation;
	struct process_fork_rec process_fork;
	struct process_exec_rec process_exec;
	struct process_argv_rec process_argv;
	struct process_exit_rec process_exit;
	struct file_open_rec file_open;
	struct file_use_rec file_use_record;
	struct file_delete_rec file_delete;
	struct file_rename_rec file_rename;
	struct network_rec network;
	struct tls_data_rec tls_data;
	struct tls_object_rec tls_object;
	struct tls_socket_rec tls_socket;
	struct tls_hello_rec tls_hello;
	struct tls_operand tls_operand;
	struct tls_hook tls_hook;
	struct image_mapped_rec image_mapped;
	struct channel_open_rec channel_open;
	struct channel_data_rec channel_data;
	struct channel_key channel_key;
	enum act_argument act_argument;
	enum passing passing;
	struct act_rec act;
	struct act_shape act_shape;
	struct dns_rec dns;
	struct canary_rec canary;
	struct image_item image_item;
	struct file_use_key file_use_key;
	struct file_use file_use;
	struct socket_use socket_use;
	struct scope scope;
	struct process_item process_item;
	struct class_stats class_stats;
};

const volatile struct wire_types wire_types = {};
