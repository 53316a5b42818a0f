// Reading through zlib, and cutting what was read into lines.
#include "data/byte_reader.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr unsigned kBufferBytes = 1 << 18;

}  // namespace

ByteReader::ByteReader(const std::filesystem::path& file, bool compressed)
    : name_(file.string()), buffer_(kBufferBytes, '\0') {
  errno = 0;
  file_ = gzopen(file.c_str(), "rb");
  HYPENET_CHECK(file_ != nullptr, name_, ": cannot open: ", std::strerror(errno));
  gzbuffer(file_, kBufferBytes);
  if (compressed && gzdirect(file_) == 1) {
    gzclose_r(file_);
    throw Error(concat(name_, ": expected gzip data, found none"));
  }
}

ByteReader::~ByteReader() { gzclose_r(file_); }

std::string_view ByteReader::next() {
  const int count = gzread(file_, buffer_.data(), kBufferBytes);
  int status = Z_OK;
  const char* reason = gzerror(file_, &status);
  // zlib reports a gzip file that stops early as Z_BUF_ERROR, beside the bytes it could still read.
  if (status == Z_ERRNO) reason = std::strerror(errno);
  HYPENET_CHECK(count >= 0 && (status == Z_OK || status == Z_STREAM_END), name_,
                ": expected readable data to the end, found: ", reason);
  return {buffer_.data(), static_cast<size_t>(count)};
}

void for_each_line(ByteReader& reader,
                   const std::function<bool(const std::string& line, int64_t number)>& use) {
  std::string line;
  int64_t number = 1;
  for (std::string_view piece = reader.next(); !piece.empty(); piece = reader.next()) {
    for (size_t end = piece.find('\n'); end != piece.npos; end = piece.find('\n')) {
      line.append(piece.substr(0, end));
      if (!use(line, number++)) return;
      line.clear();
      piece.remove_prefix(end + 1);
    }
    line.append(piece);
  }
  if (!line.empty()) use(line, number);
}

}  // namespace hypenet
