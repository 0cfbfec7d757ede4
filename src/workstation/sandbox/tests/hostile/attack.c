/* What a hostile package could try, call by call. Prints a line for each: what, and what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result) {
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "DONE");
    fflush(stdout);
}

static void calls(void) {
    say("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    say("remount", mount("none", "/proc/sys", "", MS_REMOUNT | MS_BIND, ""));
    say("umount", umount2("/proc", MNT_DETACH));
    say("pivot_root", syscall(SYS_pivot_root, ".", "."));
    say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    say("fsopen", syscall(SYS_fsopen, "proc", 0));
    say("unshare user", unshare(CLONE_NEWUSER));
    say("unshare mount", unshare(CLONE_NEWNS));
    say("unshare net", unshare(CLONE_NEWNET));
    say("clone user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    say("clone3", syscall(SYS_clone3, 0, 0));
    say("setns", setns(open("/proc/self/ns/mnt", O_RDONLY), 0));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    say("add_key", syscall(SYS_add_key, "user", "a", "b", 1, -3));
    say("bpf", syscall(SYS_bpf, 0, 0, 0));
    say("perf_event_open", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
    say("ptrace 1", ptrace(PTRACE_ATTACH, 1, 0, 0));
    say("process_vm_readv 1", syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0));
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0));
    say("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    say("init_module", syscall(SYS_init_module, 0, 0, 0));
    say("finit_module", syscall(SYS_finit_module, 0, 0, 0));
    say("delete_module", syscall(SYS_delete_module, "x", 0));
    say("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, 0));
    say("syslog", syscall(SYS_syslog, 3, 0, 0));
    say("swapon", syscall(SYS_swapon, "/bin/sh", 0));
    say("settimeofday", syscall(SYS_settimeofday, 0, 0));
    say("open_by_handle_at", syscall(SYS_open_by_handle_at, 0, 0, 0));
    say("sethostname", sethostname("x", 1));
    say("AF_VSOCK", socket(40, SOCK_STREAM, 0));
    say("AF_ALG", socket(38, SOCK_SEQPACKET, 0));
    say("AF_PACKET", socket(17, SOCK_RAW, 0));
    say("raw socket", socket(AF_INET, SOCK_RAW, 1));
    say("TIOCSTI", ioctl(0, TIOCSTI, "x"));
    say("mknod block", mknod("/disk", S_IFBLK | 0600, makedev(8, 0)));
    say("mknod char", mknod("/mem", S_IFCHR | 0600, makedev(1, 1)));
    say("/dev/tty", open("/dev/tty", O_RDWR));
    say("/proc/1/root", open("/proc/1/root/etc", O_RDONLY));
    say("/proc/1/mem", open("/proc/1/mem", O_RDWR));
    say("/proc/1/exe", open("/proc/1/exe", O_RDONLY));
    say("/proc/1/cwd", open("/proc/1/cwd", O_RDONLY));
    say("/proc/1/fd", open("/proc/1/fd/0", O_RDWR));
    say("/proc/1/environ", open("/proc/1/environ", O_RDONLY));
    say("/proc/sys", open("/proc/sys/kernel/hostname", O_WRONLY));
    say("/proc/sysrq-trigger", open("/proc/sysrq-trigger", O_WRONLY));
    say("/sys", mkdir("/sys/x", 0700));
    say("oom_score_adj", open("/proc/1/oom_score_adj", O_WRONLY));
#ifdef __x86_64__
    say("x32", syscall(0x40000000 | SYS_mount, "none", "/tmp", "tmpfs", 0, ""));
    pid_t child = fork();
    if (child == 0) {
        /* mount(2) of 32 bits */
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(21), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("32 bits: %s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? "SIGSYS" : "DONE");
#endif
    say("kill 1", kill(1, SIGKILL));
    /* The first process does not hear of it. */
    usleep(100000);
}

/* The classic way out of a chroot: with a folder held open that lies outside. */
static void escape(void) {
    mkdir("/jail", 0700);
    int out = open("/", O_RDONLY | O_DIRECTORY);
    say("chroot", chroot("/jail"));
    fchdir(out);
    for (int i = 0; i < 64; i++) chdir("..");
    chroot(".");
    say("marker of the root", access("/marker", F_OK));
    say("workstation", access("/proc/1/root/etc/os-release", F_OK));
}

static void abstract(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name, strlen(name));
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    say("abstract", connect(socket_, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}

/* Takes memory in several processes, each of which stays below what one may have. */
static void hog(void) {
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            volatile char *memory = malloc(24 << 20);
            for (size_t at = 0; at < 24 << 20; at += 4096) memory[at] = 1;
            for (;;) pause();
        }
    for (;;) pause();
}

/* A program of the root that is this user's and has the set-user-id bit. */
static void identity(void) {
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    printf("uid %d %d %d, no new privileges %d\n", real, effective, saved, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "calls";
    if (!strcmp(what, "calls")) calls();
    if (!strcmp(what, "escape")) escape();
    if (!strcmp(what, "abstract")) abstract(words[2]);
    if (!strcmp(what, "hog")) hog();
    if (!strcmp(what, "identity")) identity();
    if (!strcmp(what, "as")) {
        if (setgid(atoi(words[2])) || setuid(atoi(words[2]))) return 1;
        execv(words[3], words + 3);
    }
    return 0;
}
