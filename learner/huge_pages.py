"""Huge pages for what an update allocates: in pages of 4 KiB, touching fresh memory takes a quarter of it on CPU."""

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment that a learner's process must start with: glibc (2.35 or newer) then asks for huge pages where it gets
memory (madvise). Memory goes back to the system as without it. Of no effect where the kernel gives none
(``/sys/kernel/mm/transparent_hugepage/enabled`` is ``never``) and on memory of a GPU."""
