// Writing through zlib; the file's bytes do not depend on the sizes of the pieces.
#include "data/byte_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

namespace hypenet {
namespace {

constexpr size_t kBufferBytes = 1 << 16;
constexpr int kGzipWindow = 15 + 16;  // the largest window, with gzip's header
constexpr int kMemoryLevel = 8;       // zlib's default

}  // namespace

ByteWriter::ByteWriter(const std::filesystem::path& file)
    : file_(file), is_compressed_(file.extension() == ".gz"), buffer_(kBufferBytes, '\0') {
  if (!is_compressed_) return;
  const int status = deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow,
                                  kMemoryLevel, Z_DEFAULT_STRATEGY);
  if (status != Z_OK) throw std::bad_alloc();
}

ByteWriter::~ByteWriter() {
  if (is_compressed_) deflateEnd(&stream_);
}

void ByteWriter::deflate_all(std::string_view bytes, int flush) {
  stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream_.avail_in = static_cast<uInt>(bytes.size());
  do {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
    stream_.avail_out = static_cast<uInt>(buffer_.size());
    deflate(&stream_, flush);
    file_.write(buffer_.data(), buffer_.size() - stream_.avail_out);
  } while (stream_.avail_out == 0);
}

void ByteWriter::write(std::string_view bytes) {
  if (!is_compressed_) return file_.write(bytes);
  constexpr size_t kMostAtOnce = 1 << 30;  // zlib counts in 32 bits
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kMostAtOnce);
    deflate_all(bytes.substr(0, count), Z_NO_FLUSH);
    bytes.remove_prefix(count);
  }
}

void ByteWriter::commit() {
  if (is_compressed_) deflate_all({}, Z_FINISH);
  file_.commit();
}

std::string file_checksum(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  auto bytes = mapped.bytes();
  uLong sum = crc32(0, Z_NULL, 0);
  constexpr size_t kMostAtOnce = 1 << 30;
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kMostAtOnce);
    sum = crc32(sum, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(count));
    bytes = bytes.subspan(count);
  }
  return fmt::format("{:08x}", sum);
}

}  // namespace hypenet
