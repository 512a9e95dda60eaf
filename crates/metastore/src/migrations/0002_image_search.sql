-- Listings of images by pages, and searches by name and tag, touch only the rows that they answer with.

CREATE INDEX images_by_owner ON images (owner_id, region, image_id);
CREATE INDEX images_by_bare_name ON images (name, region);

DROP INDEX tags_by_account;
CREATE INDEX tags_by_account ON tags (account_id, region, tag_key, tag_value);
