/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Just enough of io_uring, without a library: one request at a time. */
#ifndef URING_H
#define URING_H

#include "attacker.h"
#include <linux/io_uring.h>

struct ring {
	int fd;
	char *rings; /* both, as the kernel has mapped them in one since 5.4 */
	struct io_uring_sqe *requests;
	struct io_uring_params params;
};

static void open_ring(struct ring *ring, unsigned flags)
{
	size_t bytes;

	memset(ring, 0, sizeof(*ring));
	ring->params.flags = flags;
	ring->fd = syscall(SYS_io_uring_setup, 8, &ring->params);
	if (ring->fd < 0)
		cannot("io_uring_setup");
	bytes = ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
	ring->rings =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->requests = mmap(NULL, ring->params.sq_entries * sizeof(struct io_uring_sqe),
			      PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	require(ring->rings != MAP_FAILED && ring->requests != MAP_FAILED, "map the ring");
}

/* Makes a request and waits for its result. */
static int request(struct ring *ring, struct io_uring_sqe sqe)
{
	unsigned *tail = (void *)(ring->rings + ring->params.sq_off.tail);
	unsigned *indexes = (void *)(ring->rings + ring->params.sq_off.array);
	unsigned *head = (void *)(ring->rings + ring->params.cq_off.head);
	unsigned *done = (void *)(ring->rings + ring->params.cq_off.tail);
	unsigned *flags = (void *)(ring->rings + ring->params.sq_off.flags);
	unsigned at = *tail & (ring->params.sq_entries - 1);
	struct io_uring_cqe *cqes = (void *)(ring->rings + ring->params.cq_off.cqes);
	bool by_itself = ring->params.flags & IORING_SETUP_SQPOLL;
	int result;

	ring->requests[at] = sqe;
	indexes[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (by_itself)
		while (__atomic_load_n(done, __ATOMIC_ACQUIRE) == *head) {
			if (__atomic_load_n(flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)
				syscall(SYS_io_uring_enter, ring->fd, 0, 0, IORING_ENTER_SQ_WAKEUP,
					NULL, 0);
			sched_yield();
		}
	else
		require(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL,
				0) == 1,
			"io_uring_enter");
	require(__atomic_load_n(done, __ATOMIC_ACQUIRE) != *head, "a result");
	result = cqes[*head & (ring->params.cq_entries - 1)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

#endif
