// SPDX-License-Identifier: GPL-3.0-or-later
// The ten files opened last, newest first, kept in the settings with what the start page says about them.
#pragma once
#include <QDateTime>
#include <QObject>
#include <QString>
#include <vector>

class QSettings;

namespace nibble {

struct OpenedFile;

struct RecentFile {
  QString path, format;
  bool folder = false;
  qulonglong tensors = 0, sizeBytes = 0;
  [[nodiscard]] QString name() const;
  [[nodiscard]] QString parentName() const;  // last part of its folder
};

class RecentFiles : public QObject {
  Q_OBJECT
 public:
  static constexpr std::size_t most = 10;
  explicit RecentFiles(QSettings& settings, QObject* parent = nullptr);
  [[nodiscard]] const std::vector<RecentFile>& files() const { return m_files; }
  void add(const OpenedFile& file);
  void forget(const QString& path);

 signals:
  void changed();

 private:
  void store();
  QSettings& m_settings;
  std::vector<RecentFile> m_files;
};

}  // namespace nibble
