// The bytes of a file, plain or gzip, piece by piece or line by line.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace hypenet {

/// A file that is read from its beginning to its end. zlib passes plain files through.
class ByteReader {
 public:
  /// Throws Error when the file cannot be opened, or is `compressed` by its name and holds no gzip
  /// data.
  ByteReader(const std::filesystem::path& file, bool compressed);
  ~ByteReader();
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  /// The next piece; empty at the end. Valid until the next call. Throws Error when the data stops
  /// early or is damaged.
  std::string_view next();

 private:
  std::string name_, buffer_;
  gzFile file_ = nullptr;
};

/// Calls use(line, number) for each line, without its line feed; numbers start at one. Returning
/// false stops early.
void for_each_line(ByteReader& reader,
                   const std::function<bool(const std::string& line, int64_t number)>& use);

}  // namespace hypenet
