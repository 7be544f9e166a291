// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/recent_files.h"

#include "ui/session/opened_file.h"

#include <QFileInfo>
#include <QSettings>

namespace nibble {

QString RecentFile::name() const { return path.section('/', -1, -1, QString::SectionSkipEmpty); }
QString RecentFile::parentName() const { return path.section('/', -2, -2, QString::SectionSkipEmpty); }

RecentFiles::RecentFiles(QSettings& settings, QObject* parent) : QObject(parent), m_settings(settings) {
  const int count = m_settings.beginReadArray("recent");
  for (int i = 0; i < count && m_files.size() < most; ++i) {
    m_settings.setArrayIndex(i);
    m_files.push_back({m_settings.value("path").toString(), m_settings.value("format").toString(), m_settings.value("folder").toBool(),
                       m_settings.value("tensors").toULongLong(), m_settings.value("sizeBytes").toULongLong()});
  }
  m_settings.endArray();
}

void RecentFiles::add(const OpenedFile& file) {
  RecentFile recent;
  recent.path = QString::fromStdString(file.path.string());
  while (recent.path.size() > 1 && recent.path.endsWith('/')) recent.path.chop(1);
  recent.format = QString::fromStdString(file.format);
  recent.folder = QFileInfo(recent.path).isDir();
  recent.tensors = file.tree->items().size();
  recent.sizeBytes = file.sizeBytes;
  std::erase_if(m_files, [&](const auto& known) { return known.path == recent.path; });
  m_files.insert(m_files.begin(), std::move(recent));
  if (m_files.size() > most) m_files.resize(most);
  store();
}

void RecentFiles::forget(const QString& path) {
  std::erase_if(m_files, [&](const auto& known) { return known.path == path; });
  store();
}

void RecentFiles::store() {
  m_settings.beginWriteArray("recent", static_cast<int>(m_files.size()));
  for (std::size_t i = 0; i < m_files.size(); ++i) {
    m_settings.setArrayIndex(static_cast<int>(i));
    m_settings.setValue("path", m_files[i].path);
    m_settings.setValue("format", m_files[i].format);
    m_settings.setValue("folder", m_files[i].folder);
    m_settings.setValue("tensors", m_files[i].tensors);
    m_settings.setValue("sizeBytes", m_files[i].sizeBytes);
  }
  m_settings.endArray();
  emit changed();
}

}  // namespace nibble
