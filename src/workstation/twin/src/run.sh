# Runs in the root: what dpkg does between unpacking and the end of an installation. Lines that begin with @@ are read by
# the program that started this.
set -u
umask 022
cd /
here=/var/lib/dpkg/fruitbuild
arch=$(cat "$here/architecture")
failed=0

# What a first installation makes before anything can run.
made_accounts=
if ! [ -e /etc/passwd ]; then
	echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
	echo 'root:x:0:' > /etc/group
	made_accounts=1
fi
made_awk=
if ! [ -e /usr/bin/awk ] && [ -e /usr/bin/mawk ]; then
	ln -s mawk /usr/bin/awk
	made_awk=1
fi
mkdir -p /run/lock

export DPKG_MAINTSCRIPT_ARCH="$arch" DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT=
DPKG_RUNNING_VERSION=$(dpkg-query -W -f '${Version}' dpkg)
export DPKG_RUNNING_VERSION
while read -r package; do
	[ -n "$package" ] || continue
	for script in "/var/lib/dpkg/info/$package.preinst" "/var/lib/dpkg/info/$package:$arch.preinst"; do
		[ -e "$script" ] || continue
		echo "@@ preinst $package"
		if [ "$package" = base-passwd ] && [ -n "$made_accounts" ]; then
			rm -f /etc/passwd /etc/group
		fi
		DPKG_MAINTSCRIPT_PACKAGE="$package" DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
			"$script" install < /dev/null || { echo "@@ failed $package preinst $?"; failed=1; }
	done
done < "$here/preinst"
unset DPKG_MAINTSCRIPT_ARCH DPKG_RUNNING_VERSION DPKG_ADMINDIR DPKG_ROOT
[ "$failed" = 0 ] || exit 1
if [ -n "$made_awk" ]; then
	rm /usr/bin/awk
	ln -s mawk /usr/bin/awk
fi

configure() {
	echo "@@ configure"
	dpkg --force-unsafe-io --no-pager --force-confdef --force-confold "$@" < /dev/null || failed=1
}
configure --force-depends --configure base-passwd
configure --force-depends --configure $(grep -vx base-passwd "$here/essential")
if [ -s "$here/answers" ]; then
	echo "@@ answers"
	debconf-set-selections < "$here/answers" || failed=1
fi
configure --configure -a
echo "@@ audit"
audit=$(dpkg --audit 2>&1) || failed=1
if [ -n "$audit" ]; then
	echo "$audit"
	failed=1
fi
echo "@@ end $failed"
exit $failed
