"""What a stack costs, roughly, from Google's list prices."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from dags.provisioning.cluster import DISK_GB
from dags.provisioning.stack import Exposure, Stack

HOURS_PER_MONTH: Final = 730
ZONES_PER_REGION: Final = 3

PRICES_AS_OF: Final = (
    "list prices in US dollars for us-east1, entered by hand in November 2026 and never compared with Google's list: check them; "
    "without taxes, discounts, network traffic and stored data"
)
# Machine type -> dollars per hour, on demand. A type that is not listed here makes the estimate say so.
MACHINE_HOUR: Final = {
    "e2-standard-2": 0.0670,
    "e2-standard-4": 0.1340,
    "e2-standard-8": 0.2681,
    "n1-standard-2": 0.0950,
    "n1-standard-4": 0.1900,
    "n1-standard-8": 0.3800,
    "n2-standard-2": 0.0971,
    "n2-standard-4": 0.1942,
    "n2-standard-8": 0.3885,
}
# Spot prices move from day to day; Google promises 60 % off or more, so this is an upper bound.
SPOT_FACTOR: Final = 0.4
CLUSTER_HOUR: Final = 0.10
BALANCED_DISK_GB_MONTH: Final = 0.10
LOAD_BALANCER_HOUR: Final = 0.025
BUCKET_GB_MONTH: Final = 0.020


@dataclass(frozen=True)
class Estimate:
    """What a stack costs.

    :ivar lines: One for each part: what, and dollars per hour or None when the price is not known.
    """

    lines: tuple[tuple[str, float | None], ...]

    @property
    def per_hour(self) -> float:
        """Dollars; parts without a known price are left out."""
        return sum(price or 0.0 for _, price in self.lines)

    @property
    def is_complete(self) -> bool:
        """The price of every part is known."""
        return all(price is not None for _, price in self.lines)

    def __str__(self) -> str:
        rows = [f"  {'price not known' if price is None else f'{price:8.4f}':>15} $/h  {what}" for what, price in self.lines]
        missing = "" if self.is_complete else " and what is not known above: look it up, or give node_price"
        total = f"  {self.per_hour:15.4f} $/h, {self.per_hour * HOURS_PER_MONTH:.2f} $ per month of {HOURS_PER_MONTH} h{missing}"
        bucket = f"  The bucket's contents cost about {BUCKET_GB_MONTH:.3f} $ per GB and month."
        return "\n".join([f"Estimate ({PRICES_AS_OF}):", *rows, total, bucket])


def estimate(stack: Stack, *, node_price: float | None = None) -> Estimate:
    """Price a stack before anything is created. What runs on a cluster that exists already costs nothing more than that cluster.

    :param node_price: Dollars per hour of one node, for a machine type that is not listed, or a price of one's own.
    """
    lines: list[tuple[str, float | None]] = []
    if cluster := stack.cluster:
        nodes = cluster.node_count * (ZONES_PER_REGION if cluster.is_regional else 1)
        price = node_price if node_price is not None else MACHINE_HOUR.get(cluster.machine_type)
        if price is not None and node_price is None and cluster.spot:
            price *= SPOT_FACTOR
        kind = " spot, at most" if cluster.spot else ""
        zones = f" in {ZONES_PER_REGION} zones" if cluster.is_regional else ""
        lines.append((f"{nodes} x {cluster.machine_type}{kind}{zones}", None if price is None else nodes * price))
        if cluster.max_nodes is not None and cluster.max_nodes > cluster.node_count and price is not None:
            per_zone = ZONES_PER_REGION if cluster.is_regional else 1
            lines.append((f"(up to {cluster.max_nodes * per_zone} nodes under load: {cluster.max_nodes * per_zone * price:.4f} $/h)", 0.0))
        lines.append(("GKE's fee for the cluster", CLUSTER_HOUR))
        gb = nodes * DISK_GB + 2 * stack.release.storage_gb
        lines.append(
            (f"{gb} GB of disks: {nodes} x {DISK_GB} for nodes, 2 x {stack.release.storage_gb} for etcd and PostgreSQL", _disk_hour(gb))
        )
    if stack.exposure is Exposure.LOAD_BALANCER:
        lines.append(("a load balancer", LOAD_BALANCER_HOUR))
    return Estimate(tuple(lines))


def ran_for(created: str, *, now: datetime, estimated: Estimate) -> str:
    """How long a cluster ran and what that cost.

    :param created: When it was created, as Google says it (RFC 3339); "" when it does not say.
    """
    if not created:
        return "Google does not say when the cluster was created"
    hours = (now - datetime.fromisoformat(created).astimezone(UTC)).total_seconds() / 3600
    unknown = " and ".join(what for what, price in estimated.lines if price is None)
    missing = f" and the price of {unknown}, which is not known here" if unknown else ""
    return f"ran for {hours:.1f} hours, about {hours * estimated.per_hour:.2f} ${missing}"


def _disk_hour(gb: int) -> float:
    return gb * BALANCED_DISK_GB_MONTH / HOURS_PER_MONTH
