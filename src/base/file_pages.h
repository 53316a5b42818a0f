// The memory of a file that is mapped, once it is no longer looked at.
#pragma once

#include <cstddef>
#include <span>

namespace hypenet {

/// Gives the pages of a file's read-only mapping that lie wholly within `bytes` back to the system:
/// whoever reads them again has them from the file again. Only for bytes of such a mapping.
void release_file_pages(std::span<const std::byte> bytes);

}  // namespace hypenet
