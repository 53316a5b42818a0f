// A file written piece by piece, gzip where its name ends in .gz.
#pragma once

#include <zlib.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/files.h"

namespace hypenet {

/// Appears under its name complete, by `commit`, or not at all.
class ByteWriter {
 public:
  /// Throws Error when the file cannot be made.
  explicit ByteWriter(const std::filesystem::path& file);
  ~ByteWriter();
  ByteWriter(const ByteWriter&) = delete;
  ByteWriter& operator=(const ByteWriter&) = delete;

  /// Throws Error when the bytes cannot be written (a full disk).
  void write(std::string_view bytes);
  void commit();

 private:
  void deflate_all(std::string_view bytes, int flush);

  FileWriter file_;
  bool is_compressed_;
  z_stream stream_ = {};
  std::string buffer_;
};

/// CRC-32 of a file's bytes, eight hexadecimal digits: tells a file from another of its name.
std::string file_checksum(const std::filesystem::path& file);

}  // namespace hypenet
