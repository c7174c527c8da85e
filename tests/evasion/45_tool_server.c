/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Has a server on its standard input and output do the work, as MCP servers, hooks and installers do. */
#include "attacker.h"

int main(int argc, char **argv)
{
	static const char call[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":"
		"{\"name\":\"make\",\"arguments\":{\"path\":\"by-server\"}}}\n";
	static const char answer[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n";
	char bytes[BUFFER];
	int in[2], out[2];
	pid_t server;

	begin(argc, argv);
	require(pipe(in) == 0 && pipe(out) == 0, "pipes");
	server = fork();
	if (!server) {
		require(read(in[0], bytes, sizeof(bytes)) > 0, "a call");
		mark("by-server");
		require(write(out[1], answer, sizeof(answer) - 1) > 0, "answer");
		_exit(0);
	}
	require(write(in[1], call, sizeof(call) - 1) > 0, "call");
	require(read(out[0], bytes, sizeof(bytes)) > 0, "an answer");
	join(server);
	return 0;
}
