"""Huge pages for what an update allocates: in pages of 4 KiB, touching fresh memory takes a quarter of it on CPU."""

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment that a learner's process must start with: glibc (2.35 or newer) then asks for huge pages where it gets
memory (madvise). Memory goes back to the system as without it. Of no effect where the kernel gives none
(``/sys/kernel/mm/transparent_hugepage/enabled`` is ``never``) and on memory of a GPU."""
LEAST_PARAMETERS = 50_000_000
"""A smaller model's update touches little memory, and gains less than the first touch of a huge page can cost."""


def allocator_environment(parameters: int) -> dict[str, str]:
    """What the process of a learner of a model of ``parameters`` parameters starts with."""
    return HUGE_PAGES if parameters >= LEAST_PARAMETERS else {}
