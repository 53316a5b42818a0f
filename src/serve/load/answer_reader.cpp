// Lines and lengths of answers, lines of events.
#include "serve/load/answer_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"

namespace hypenet {
namespace {

int64_t number(std::string_view digits, int base) {
  int64_t value = -1;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  HYPENET_CHECK(parsed.ec == std::errc() && value >= 0,
                "the server's answer: expected a number, found \"", digits, "\"");
  return value;
}

std::string_view without_space(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

/// Takes bytes to a line's end; true: `line` is whole, without its end.
bool take_line(std::string_view& bytes, std::string& line) {
  const size_t end = bytes.find('\n');
  line += bytes.substr(0, end);
  bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 1);
  if (end == bytes.npos) return false;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace

void AnswerReader::push(std::string_view bytes, std::string& body) {
  has_begun_ = has_begun_ || !bytes.empty();
  while (!bytes.empty() && place_ != Place::kWhole) {
    if (place_ == Place::kToEnd) {
      body += std::exchange(bytes, {});
    } else if (place_ == Place::kLength || place_ == Place::kChunk) {
      const std::string_view part = bytes.substr(0, static_cast<size_t>(left_));
      body += part;
      left_ -= std::ssize(part);
      bytes.remove_prefix(part.size());
      if (left_ == 0) place_ = place_ == Place::kChunk ? Place::kChunkEnd : Place::kWhole;
    } else if (take_line(bytes, line_)) {
      read_line(std::exchange(line_, {}));
    }
  }
  HYPENET_CHECK(bytes.empty(), "the server's answer: ", bytes.size(), " bytes behind its end");
}

void AnswerReader::read_line(std::string_view line) {
  if (place_ == Place::kChunkSize) {
    left_ = number(line.substr(0, line.find(';')), 16);
    place_ = left_ == 0 ? Place::kTrailer : Place::kChunk;
  } else if (place_ == Place::kChunkEnd) {
    HYPENET_CHECK(line.empty(), "the server's answer: expected the end of a chunk");
    place_ = Place::kChunkSize;
  } else if (place_ == Place::kTrailer) {
    if (line.empty()) place_ = Place::kWhole;
  } else if (status_ == 0) {
    HYPENET_CHECK(line.starts_with("HTTP/1.") && line.size() >= 12,
                  "the server's answer: expected a status line, found \"", line.substr(0, 60),
                  "\"");
    keeps_alive_ = line[7] != '0';
    status_ = static_cast<int>(number(line.substr(9, 3), 10));
  } else if (line.empty()) {
    end_head();
  } else {
    read_field(line);
  }
}

void AnswerReader::read_field(std::string_view line) {
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string name = ascii_lower_case(line.substr(0, colon));
  const std::string_view value = without_space(line.substr(std::min(colon + 1, line.size())));
  if (name == "content-length") left_ = number(value, 10);
  if (name == "transfer-encoding") is_chunked_ = ascii_lower_case(value) == "chunked";
  if (name == "connection" && ascii_lower_case(value) == "close") keeps_alive_ = false;
}

void AnswerReader::end_head() {
  if (status_ < 200) {  // 100 Continue: the answer follows
    *this = {};
  } else if (is_chunked_) {
    place_ = Place::kChunkSize;
  } else if (left_ == 0 || status_ == 204) {
    place_ = Place::kWhole;
  } else if (left_ > 0) {
    place_ = Place::kLength;
  } else {
    place_ = Place::kToEnd;
    keeps_alive_ = false;
  }
}

void AnswerReader::end() {
  if (place_ == Place::kToEnd) place_ = Place::kWhole;
  HYPENET_CHECK(is_whole(), "the server closed the connection ",
                has_begun_ ? "before the answer's end" : "without an answer");
}

std::vector<std::string> EventReader::push(std::string_view bytes) {
  std::vector<std::string> events;
  while (take_line(bytes, line_)) {
    std::string_view line = line_;
    if (line.empty() && !data_.empty()) events.push_back(std::exchange(data_, {}));
    if (line.starts_with("data:")) {
      line.remove_prefix(5);
      if (line.starts_with(' ')) line.remove_prefix(1);
      if (!data_.empty()) data_ += '\n';
      data_ += line;
    }
    line_.clear();
  }
  return events;
}

}  // namespace hypenet
