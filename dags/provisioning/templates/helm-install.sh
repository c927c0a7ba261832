# Install the chart or bring its release to the given values. Safe to repeat, also after it was killed.
set -eu

chart=/chart/pachyderm.tgz
if [ ! -f "$chart" ]; then
  case "$CHART" in
    oci://*) helm pull "$CHART" --version "$VERSION" --destination /tmp/pulled ;;
    *) helm pull pachyderm --repo "$CHART" --version "$VERSION" --destination /tmp/pulled ;;
  esac
  chart=$(ls /tmp/pulled/*.tgz)
fi
if [ -n "$SHA256" ]; then
  echo "$SHA256  $chart" | sha256sum -c - || { echo "chart $CHART $VERSION is not the archive with digest $SHA256: nothing was installed" >&2; exit 3; }
fi

# A killed Helm leaves its release pending, and every later one refuses to touch it.
state=$(helm status "$RELEASE" --namespace "$NAMESPACE" --output json 2>/dev/null | sed -n 's/.*"status":"\([a-z-]*\)".*/\1/p' | head -n 1)
case "$state" in
  pending-install | uninstalling) helm uninstall "$RELEASE" --namespace "$NAMESPACE" --wait --timeout 5m ;;
  pending-upgrade | pending-rollback) helm rollback "$RELEASE" --namespace "$NAMESPACE" --wait --timeout 5m ;;
esac

exec helm upgrade "$RELEASE" "$chart" --install --namespace "$NAMESPACE" \
  --values /values/values.yaml --values /secrets/values.yaml --history-max 5 --wait --timeout "$TIMEOUT"
