"""What a collection holds beside what it should: its datasets, their budgets in training, their targets."""

from collections.abc import Iterator
from dataclasses import dataclass

from onegen.config.collection import Collection, Member
from onegen.sample import IMAGE, PACKED
from onegen.shards.collection import dataset_of
from onegen.shards.dataset import Dataset
from onegen.storage.store import Store


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One dataset: its part of the training budget, samples planned and there, and its digest once it is whole.

    `samples` are those of the packed view, or where there is none those whose image is ok. `state` is that of its
    card, `absent` where none was planned yet.
    """

    name: str
    member: Member
    share: float
    state: str
    planned: int = 0
    samples: int = 0
    digest: str | None = None

    @property
    def reached(self) -> float | None:
        """Samples as a part of the target; None where there is no target."""
        return self.samples / self.member.target if self.member.target else None


def read_members(store: Store, collection: Collection) -> Iterator[MemberStatus]:
    """Yield the status of each dataset of the collection in a store, in the collection's order."""
    shares = collection.shares()
    for name, member in collection.datasets.items():
        dataset = dataset_of(store, name)
        card = dataset.card()
        if card is None:
            yield MemberStatus(name, member, shares[name], "absent")
            continue
        yield MemberStatus(name, member, shares[name], card.state, card.plan.items, _samples(dataset), card.digest)


def _samples(dataset: Dataset) -> int:
    return dataset.counts(PACKED if dataset.shards(PACKED) else IMAGE).ok
