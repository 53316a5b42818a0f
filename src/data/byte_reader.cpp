// Reading through zlib, and cutting what was read into lines.
#include "data/byte_reader.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file_kind.h"

namespace hypenet {
namespace {

constexpr std::string_view kGzip = "gzip data";
constexpr unsigned kBufferBytes = 1 << 18;

}  // namespace

ByteReader::ByteReader(const std::filesystem::path& file, bool compressed)
    : name_(file.string()), buffer_(kBufferBytes, '\0') {
  check_is_no_stream(file);
  errno = 0;
  file_ = gzopen(file.c_str(), "rb");
  const int reason = errno;
  if (file_ == nullptr) {
    check_file_kind(file, "a file", kGzip);
    throw Error(concat(name_, ": cannot open: ", std::strerror(reason)));
  }
  gzbuffer(file_, kBufferBytes);
  if (compressed && gzdirect(file_) == 1) {
    gzclose_r(file_);
    check_file_kind(file, kGzip, kGzip);
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
  if (count < 0 || (status != Z_OK && status != Z_STREAM_END)) {
    const std::string found = reason;
    check_file_kind(name_, "a file", kGzip);
    throw Error(concat(name_, ": expected readable data to the end, found: ", found,
                       status == Z_BUF_ERROR ? " (an incomplete download?)" : ""));
  }
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
