// A mapping begins at any small page, so it is taken a large page too long and cut at both ends.
#include "base/large_pages.h"

#include <sys/mman.h>

#include <cstdint>

#include "base/error.h"

namespace hypenet {

std::shared_ptr<std::byte> map_large_pages(size_t bytes) {
  const size_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* const mapping = whole < bytes ? MAP_FAILED
                                      : mmap(nullptr, whole + kLargePage, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  HYPENET_CHECK(mapping != MAP_FAILED, "memory: expected room for ", bytes, " bytes, found none");
  auto* const begin = static_cast<std::byte*>(mapping);
  const size_t before = (kLargePage - reinterpret_cast<uintptr_t>(begin) % kLargePage) % kLargePage;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + whole, kLargePage - before);
#ifdef MADV_HUGEPAGE
  madvise(begin + before, whole, MADV_HUGEPAGE);  // a refusal costs time and nothing else
#endif
  return {begin + before, [whole](std::byte* first) { munmap(first, whole); }};
}

}  // namespace hypenet
