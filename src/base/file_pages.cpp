// Pages at both ends that hold other bytes, too, stay.
#include "base/file_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace hypenet {

void release_file_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()), end = begin + bytes.size();
  const uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
  // A refusal costs memory and nothing else.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace hypenet
