// What a file is that is not what its name says: a Git LFS pointer, an HTML page, a broken link ...
// Asked after a reader's own check has failed, so that good files cost nothing.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hypenet {

/// What bytes are that begin so, and what to do where that helps: "a Git LFS pointer (run git lfs
/// pull)"; empty when they are nothing known.
std::string kind_of_bytes(std::string_view beginning);

/// The same for what stands at a path: also "a folder", "a pipe", "a device", "a link to a missing
/// file (<target>)", "an empty file"; empty for an ordinary file of no known kind, and where
/// nothing is.
std::string kind_of_file(const std::filesystem::path& path);

/// Throws Error "<path>: expected a file, found a pipe" (or a device): to be asked before it is
/// opened, which may wait for ever.
void check_is_no_stream(const std::filesystem::path& path);

/// Throws Error "<path>: expected <wanted>, found <kind>" when the file is known to be something
/// else. Kinds that begin with `own`, the reader's, are none.
void check_file_kind(const std::filesystem::path& path, std::string_view wanted,
                     std::string_view own);

/// What `read` returns. Where it throws Error, what the file really is comes first.
template <class Function>
auto read_as(std::string_view wanted, std::string_view own, const std::filesystem::path& path,
             const Function& read) {
  try {
    return read();
  } catch (const Error&) {
    check_file_kind(path, wanted, own);
    throw;
  }
}

}  // namespace hypenet
