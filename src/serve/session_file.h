// A session on disk: a head of facts, and parts of bytes, each with its checksum.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace hypenet {

/// A part's bytes, in pieces that need not lie together.
struct SessionPart {
  std::string name;
  std::vector<std::span<const std::byte>> pieces = {};
};

/// "HYPSESS1", u32 version, u64 bytes of the head, the head (JSON), u32 its CRC-32C, then the
/// parts, each from a multiple of 4096 on, then "HYPSESS1" and u64 bytes of the whole file. All
/// little-endian. head["parts"] lists {name, offset (from the first part on), bytes, crc32c}.
/// Writes a file that appears whole or not at all. `head` is an object without "parts". Returns
/// its bytes. Throws Error as FileWriter does.
size_t write_session(const std::filesystem::path& path, Json head,
                     std::span<const SessionPart> parts);

/// A file whose head, sizes and checksums were all found right.
class SessionFile {
 public:
  /// kAtUse: a part's checksum is looked at when the part is asked for; what nobody asks for is not
  /// read.
  enum class Checked { kAtOnce, kAtUse };

  /// Throws Error "session: expected ..., found ..." (without the path) for anything else: a link,
  /// another version, a byte too few, too many or changed.
  explicit SessionFile(const std::filesystem::path& path, Checked checked = Checked::kAtOnce);

  /// The head alone, its own checksum and the file's length checked: for lists of sessions.
  static Json read_head(const std::filesystem::path& path);

  const Json& head() const { return head_; }
  /// Throws Error for a part that is not there, and with kAtUse for one that was changed.
  std::span<const std::byte> part(std::string_view name) const;

 private:
  struct Part {
    std::string name;
    std::span<const std::byte> bytes;
    uint64_t sum = 0;
  };
  void check(const Part& part) const;

  MappedFile file_;
  Json head_;
  Checked checked_;
  std::vector<Part> parts_;
};

}  // namespace hypenet
