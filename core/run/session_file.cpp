// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/session_file.h"

#include "core/base/text.h"
#include "core/io/atomic_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// A session is a few kilobytes; this bounds the memory that a wrong file can cost.
constexpr std::uintmax_t largestFile = 16u << 20;

// Reads the members of one JSON object; remembers the first mistake, so that the caller's list of members stays plain.
class Members {
 public:
  Members(const Json& object, std::string place) : m_object(object), m_place(std::move(place)) {
    if (!object.is_object()) mistake(m_place.empty() ? "a session is a JSON object" : m_place + " must be an object");
  }

  void text(const char* key, std::string& out) {
    if (const Json* value = member(key, Json::value_t::string, "text")) out = value->get<std::string>();
  }
  void count(const char* key, std::uint64_t& out) {
    if (const Json* value = member(key, Json::value_t::number_unsigned, "a whole number from 0 on"))
      out = value->get<std::uint64_t>();
  }
  void texts(const char* key, std::vector<std::string>& out) {
    list(key, Json::value_t::string, "text", [&out](const Json& item) { out.push_back(item.get<std::string>()); });
  }
  void counts(const char* key, std::vector<std::uint64_t>& out) {
    list(key, Json::value_t::number_unsigned, "a whole number from 0 on",
         [&out](const Json& item) { out.push_back(item.get<std::uint64_t>()); });
  }
  void textMap(const char* key, std::map<std::string, std::string>& out) {
    const Json* value = member(key, Json::value_t::object, "an object");
    if (value == nullptr) return;
    for (const auto& [name, item] : value->items()) {
      if (!item.is_string()) return mistake(named(key) + "." + name + " must be text");
      out[name] = item.get<std::string>();
    }
  }
  [[nodiscard]] const Json* object(const char* key) { return member(key, Json::value_t::object, "an object"); }

  // The first mistake, or the first member that nobody asked for.
  [[nodiscard]] Status finish() const {
    if (!m_mistake.empty()) return fail(m_mistake);
    for (const auto& [key, value] : m_object.items()) {
      if (std::find(m_known.begin(), m_known.end(), key) == m_known.end())
        return fail("unknown key " + named(key) + "; known are " + text::join(m_known, " "));
    }
    return {};
  }

 private:
  [[nodiscard]] std::string named(const std::string& key) const { return m_place.empty() ? key : m_place + "." + key; }
  void mistake(std::string what) {
    if (m_mistake.empty()) m_mistake = std::move(what);
  }
  const Json* member(const char* key, Json::value_t type, const char* wanted) {
    m_known.emplace_back(key);
    if (!m_mistake.empty()) return nullptr;
    const auto found = m_object.find(key);
    if (found == m_object.end()) return nullptr;
    if (found->type() == type) return &*found;
    mistake(named(key) + " must be " + wanted + ", not " + found->type_name());
    return nullptr;
  }
  template <class Take>
  void list(const char* key, Json::value_t type, const char* wanted, Take take) {
    const Json* value = member(key, Json::value_t::array, "a list");
    if (value == nullptr) return;
    for (std::size_t i = 0; i < value->size(); ++i) {
      if ((*value)[i].type() != type) return mistake(named(key) + "[" + std::to_string(i) + "] must be " + wanted);
      take((*value)[i]);
    }
  }

  const Json& m_object;
  std::string m_place, m_mistake;
  std::vector<std::string> m_known;
};

Status readVersion(const Json& json) {
  const auto version = json.find("version");
  if (version == json.end()) return fail("no \"version\": this is not a session file");
  if (!version->is_number_integer()) return fail(std::string("version must be a whole number, not ") + version->type_name());
  if (*version != SessionFile::currentVersion)
    return fail("session version " + version->dump() + " is unknown; this program reads version " +
                std::to_string(SessionFile::currentVersion));
  return {};
}

Status checkIndices(const SessionFile& session) {
  const std::uint64_t count = session.candidates.size();
  const auto outside = [count](const std::string& what, std::uint64_t index) {
    return fail(what + " is candidate " + std::to_string(index) + ", but there are " + std::to_string(count));
  };
  if (session.baseline != 0 && session.baseline >= count) return outside("baseline", session.baseline);
  for (std::size_t i = 0; i < session.ticked.size(); ++i) {
    if (session.ticked[i] >= count) return outside("ticked[" + std::to_string(i) + "]", session.ticked[i]);
    if (i > 0 && session.ticked[i] <= session.ticked[i - 1]) return fail("ticked must ascend without repeats");
  }
  return {};
}

Result<SessionFile> fromJson(const Json& json, const fs::path& folder) {
  if (!json.is_object()) return fail(std::string("a session is a JSON object, not ") + json.type_name());
  NIBBLE_TRY(readVersion(json));
  SessionFile session;
  Members members(json, "");
  std::uint64_t version = 0;
  std::string checkpoint;
  members.count("version", version);
  members.text("checkpoint", checkpoint);
  members.text("tensor", session.tensor);
  const Json* cell = members.object("cell");
  members.text("choice", session.choice);
  members.texts("candidates", session.candidates);
  members.count("baseline", session.baseline);
  members.counts("ticked", session.ticked);
  members.texts("tensors", session.tensors);
  members.text("page", session.page);
  const Json* exporting = members.object("export");
  members.text("backend", session.backend);
  members.textMap("view", session.view);
  NIBBLE_TRY(members.finish());
  if (cell != nullptr) {
    Members inner(*cell, "cell");
    inner.count("row", session.cell.row);
    inner.count("column", session.cell.column);
    NIBBLE_TRY(inner.finish());
  }
  if (exporting != nullptr) {
    Members inner(*exporting, "export");
    inner.text("format", session.exporting.format);
    inner.text("runtime", session.exporting.runtime);
    inner.text("out", session.exporting.out);
    NIBBLE_TRY(inner.finish());
  }
  if (!checkpoint.empty()) session.checkpoint = (folder / checkpoint).lexically_normal();
  NIBBLE_TRY(checkIndices(session));
  return session;
}

// Only the folder is resolved: the checkpoint itself may be a link whose own name tells its format (download caches do that).
std::string relativeTo(const fs::path& checkpoint, const fs::path& folder) {
  if (checkpoint.empty()) return {};
  std::error_code error;
  const fs::path absolute = fs::absolute(checkpoint, error).lexically_normal();
  const fs::path parent = error ? fs::path() : fs::weakly_canonical(absolute.parent_path(), error);
  const fs::path base = error ? fs::path() : fs::weakly_canonical(folder.empty() ? fs::path(".") : folder, error);
  if (error) return checkpoint.string();
  const fs::path resolved = absolute.filename().empty() ? parent : parent / absolute.filename();
  const fs::path relative = resolved.lexically_relative(fs::absolute(base, error));
  return error || relative.empty() ? resolved.string() : relative.string();
}

}  // namespace

Result<SessionFile> SessionFile::parse(std::string_view json, const fs::path& folder) {
  try {
    return fromJson(Json::parse(json), folder);
  } catch (const Json::exception& error) {
    return fail(std::string("not a session file: ") + error.what());
  } catch (const std::bad_alloc&) {
    return fail("not enough memory for this session");
  }
}

Result<std::string> SessionFile::toJson(const fs::path& folder) const {
  NIBBLE_TRY(checkIndices(*this));
  try {
    Json json;
    json["version"] = currentVersion;
    json["checkpoint"] = relativeTo(checkpoint, folder);
    json["tensor"] = tensor;
    json["cell"] = {{"row", cell.row}, {"column", cell.column}};
    json["choice"] = choice;
    json["candidates"] = candidates;
    json["baseline"] = baseline;
    json["ticked"] = ticked;
    json["tensors"] = tensors;
    json["page"] = page;
    json["export"] = {{"format", exporting.format}, {"runtime", exporting.runtime}, {"out", exporting.out}};
    json["backend"] = backend;
    json["view"] = Json::object();
    for (const auto& [key, value] : view) json["view"][key] = value;
    return json.dump(2) + "\n";
  } catch (const Json::exception& error) {
    return fail(std::string("the session cannot be written as JSON: ") + error.what());
  } catch (const std::bad_alloc&) {
    return fail("not enough memory to write the session");
  }
}

Result<SessionFile> SessionFile::read(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return fail(path.string() + ": is a directory, not a session file");
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) return fail(path.string() + ": " + error.message());
  if (size > largestFile) return fail(path.string() + ": " + text::byteSize(size) + " is too large for a session file");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(path.string() + ": cannot be opened for reading");
  std::string json(size, '\0');
  stream.read(json.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(stream.gcount()) != size) return fail(path.string() + ": cannot be read");
  auto session = parse(json, path.parent_path());
  if (!session) return fail(session.error().within(path.string()));
  return session;
}

Status SessionFile::write(const fs::path& path) const {
  const auto json = toJson(path.parent_path());
  if (!json) return fail(json.error().within(path.string()));
  return writeFileAtomically(path, *json);
}

}  // namespace nibble
