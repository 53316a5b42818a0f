// Memory in large pages, for what is read from end to end: a page of 4 KB costs a look-up of its
// address, and ends a stream that the processor reads ahead.
#pragma once

#include <cstddef>
#include <memory>

namespace hypenet {

constexpr size_t kLargePage = size_t{2} << 20;  // bytes

/// So many bytes and up to a whole page more, all zero, at a multiple of kLargePage, given back
/// with the pointer's last copy. The system takes large pages where it has them free, and memory
/// once it is written to. Throws Error when there is no room.
std::shared_ptr<std::byte> map_large_pages(size_t bytes);

}  // namespace hypenet
