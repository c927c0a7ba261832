# Remove the release; one that is not there is as good as removed.
set -eu
exec helm uninstall "$RELEASE" --namespace "$NAMESPACE" --ignore-not-found --wait --timeout "$TIMEOUT"
