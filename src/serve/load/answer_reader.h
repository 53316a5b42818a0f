// A client's half of HTTP/1.1: an answer from bytes in any pieces, and the events of a stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// One answer: with a length, in chunks, or to the connection's end. Throws Error at bytes that are
/// none.
class AnswerReader {
 public:
  /// Reads bytes of the answer, of which none may follow it, and appends what they hold of its body
  /// to `body`.
  void push(std::string_view bytes, std::string& body);

  /// The connection ended. Throws Error unless that is the answer's end.
  void end();

  bool has_begun() const { return has_begun_; }
  bool is_whole() const { return place_ == Place::kWhole; }
  int status() const { return status_; }
  bool keeps_alive() const { return keeps_alive_; }

 private:
  enum class Place { kHead, kLength, kChunkSize, kChunk, kChunkEnd, kTrailer, kToEnd, kWhole };

  void read_line(std::string_view line);
  void read_field(std::string_view line);
  void end_head();

  Place place_ = Place::kHead;
  std::string line_;   // the beginning of a line
  int status_ = 0;     // 0: the status line was not read yet
  int64_t left_ = -1;  // bytes of the body or chunk; -1: no length
  bool has_begun_ = false, is_chunked_ = false, keeps_alive_ = true;
};

/// Server-sent events: what stands behind "data:", comments and other fields left out.
class EventReader {
 public:
  /// The events that these bytes end.
  std::vector<std::string> push(std::string_view bytes);

 private:
  std::string line_, data_;
};

}  // namespace hypenet
