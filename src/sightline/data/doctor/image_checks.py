"""What is wrong with image files: sizes, damage, animation, files that nobody lists, images without objects."""



"""placeholder"""
