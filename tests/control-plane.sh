#!/bin/sh
# Builds a Kubernetes control plane for the tests from Debian's own source package, once, into a cache of
# this account; prints the folder that holds kube-apiserver, kube-controller-manager, kube-scheduler and
# etcd. Where KUBEBUILDER_ASSETS names a folder that has them, that one is taken.
set -eu

if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ]; then
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

tools=${BLACKSTART_TEST_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/blackstart-test-tools}
bin=$tools/kubernetes/bin
if [ -x "$bin/kube-scheduler" ] && [ -x "$bin/etcd" ]; then
  echo "$bin"
  exit 0
fi

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
echo "tests/control-plane.sh: building a control plane, which takes about five minutes, once" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get install -y -qq --no-install-recommends golang-go rsync etcd-server dpkg-dev make \
  golang-github-modern-go-reflect2-dev >&2

# A private list of sources: the system's own is left alone.
work=$(mktemp -d "${TMPDIR:-/tmp}/control-plane.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/source"
mirror=$(apt-cache policy | sed -n 's#^ *[0-9]* \(https\{0,1\}://[^ ]*\) bookworm/main .*#\1#p' | head -n 1)
echo "deb-src ${mirror:-http://deb.debian.org/debian} bookworm main" >"$work/sources.list"
private="-o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=- -o Dir::State=$work/state -o Dir::Cache=$work/cache"
# shellcheck disable=SC2086 # one word per option
apt-get $private update -qq >&2
cd "$work/source"
# shellcheck disable=SC2086 # one word per option
apt-get $private source -qq kubernetes >&2
cd kubernetes-*/
# The copy of this library in the tree is older than the compiler: it reads maps wrongly.
reflect2=vendor/github.com/modern-go/reflect2
rm -f "$reflect2"/*.go "$reflect2"/*.s
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go /usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$reflect2/"
cat >version.sh <<'END'
KUBE_GIT_COMMIT='debian'
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v1.20.2'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
END
KUBE_GIT_VERSION_FILE=$PWD/version.sh GOFLAGS=-p=2 CGO_ENABLED=0 GOPROXY=off \
  make WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler" >&2

mkdir -p "$bin.new"
for program in kube-apiserver kube-controller-manager kube-scheduler; do
  cp "_output/local/bin/linux/$(go env GOARCH)/$program" "$bin.new/" || cp "_output/bin/$program" "$bin.new/"
done
cp "$(command -v etcd)" "$bin.new/"
rm -rf "$bin"
mv "$bin.new" "$bin"
echo "$bin"
