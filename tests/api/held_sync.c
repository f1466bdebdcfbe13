/* SPDX-License-Identifier: Apache-2.0
 * A disk that hangs: put in front of a program with LD_PRELOAD, fdatasync() does not return while the file that
 * HELD_SYNC names exists.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd);

int fdatasync(int fd)
{
	const char *name = getenv("HELD_SYNC");

	while (name != NULL && access(name, F_OK) == 0)
		usleep(5000);
	return (int)syscall(SYS_fdatasync, fd);
}
